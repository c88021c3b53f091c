"""One bundle of trials, from images to results."""
