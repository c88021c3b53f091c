"""Pure functions of scores and ground truth."""
