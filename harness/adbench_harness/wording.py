"""Texts for a terminal: counts with their noun, and lines that are folded where they may be."""

from __future__ import annotations

import re

# A dot between the parts of a label stays at the end of a line.
_BREAK = re.compile(r"(?<=[,(\[+])(?=.)|(?<=[^:/ ]/)(?=[^/])|(?<= )(?!·)")


def counted(count: int, noun: str) -> str:
    """A number and its noun: ``1 trial``, ``2 trials``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration for a reader, to about a tenth: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def fold(text: str, width: int) -> list[str]:
    """The lines of ``text``, each at most ``width`` long.

    They end after a comma, an opening bracket, a slash or a space; only a longer word is cut.
    """
    if len(text) <= width:
        return [text]
    lines = [""]
    for piece in _BREAK.split(text):
        if len(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def longest(text: str) -> int:
    """The length of the longest part of ``text`` that ``fold`` does not cut."""
    return max(len(piece.rstrip()) for piece in _BREAK.split(text))
