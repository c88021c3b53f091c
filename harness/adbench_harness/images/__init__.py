"""Image files as a model's inputs, and maps at the size of the images."""
