"""Pure functions of scores and ground truth, and what a pipeline costs."""
