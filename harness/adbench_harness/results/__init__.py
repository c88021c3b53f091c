"""Trials and their results, as stored."""

FOLDER = "adbench-results"
"""Where a run stores its results unless another folder is named."""
