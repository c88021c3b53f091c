"""Compares a run with an accepted one: what got worse, what changed, and the costs."""

from __future__ import annotations

from adbench_harness.compare.comparison import Comparison, compare
from adbench_harness.compare.repetition import repetition
from adbench_harness.compare.repetition import text as repetition_text
from adbench_harness.compare.report import json_text, junit, markdown, text

__all__ = [
    "Comparison",
    "compare",
    "json_text",
    "junit",
    "markdown",
    "repetition",
    "repetition_text",
    "text",
]
