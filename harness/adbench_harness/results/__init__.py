"""Trials and what came out of them, as stored."""

FOLDER = "adbench-results"
"""Where a run stores its results unless another folder is named."""
