"""Texts for a terminal: counts with their noun, and lines that are folded where they may be."""

from __future__ import annotations

import itertools
import re
import shutil
from textwrap import wrap

# A dot between the parts of a label stays at the end of a line.
_BREAK = re.compile(r"(?<=[,+])(?=.)|(?<=[^ ][(\[])(?=.)|(?<=[^:/ ]/)(?=[^/])|(?<= )(?!·)")
_OUTSIDE = re.compile(r"(?<= )(?!·)(?![^(\[]*[)\]])")
"""The spaces of ``_BREAK`` that are not in brackets."""
_BRACKETS = re.compile(r"\([^()]*\)")


def counted(count: int, noun: str) -> str:
    """A number and its noun: ``1 trial``, ``2 trials``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration for a reader, to about a tenth: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def terminal_width() -> int:
    """The width of the terminal, or 80 if standard output is something else."""
    return shutil.get_terminal_size((80, 24)).columns


def wrapped(text: str, width: int, indent: str = "") -> str:
    """A sentence in lines of at most ``width``; those after the first start with ``indent``.

    Lines end between words; in brackets after a comma, unless what is between commas is longer
    than half a line. Only a word that is longer than a line is folded, unless it is a path or an
    address, which a reader may want to copy.
    """
    text = text.replace(" · ", "\N{NO-BREAK SPACE}· ")
    text = _BRACKETS.sub(lambda found: _joined(found[0], width // 2), text)
    lines = wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    folded = (
        part
        for number, line in enumerate(lines)
        for part in ([line] if "/" in line else _indented(line, width, indent * (number > 0)))
    )
    return "\n".join(folded).replace("\N{NO-BREAK SPACE}", " ")


def _joined(text: str, most: int) -> str:
    parts = text.split(", ")
    if max(map(len, parts)) > most:
        return text
    return ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


def _indented(line: str, width: int, indent: str) -> list[str]:
    return [indent + part for part in fold(line.removeprefix(indent), width - len(indent))]


def fold(text: str, width: int) -> list[str]:
    """The lines of ``text``, each at most ``width`` long.

    They end after a space outside of brackets. Only what is longer is broken also after a comma,
    an opening bracket, a slash or another space, and only a longer word is cut.
    """
    if len(text) <= width:
        return [text]
    lines = [""]
    whole = _OUTSIDE.split(text)
    pieces = [[part] if len(part.rstrip()) <= width else _BREAK.split(part) for part in whole]
    for piece in itertools.chain.from_iterable(pieces):
        if len(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def longest(text: str) -> int:
    """The length of the longest part of ``text`` that ``fold`` does not cut."""
    return max(len(piece.rstrip()) for piece in _BREAK.split(text))
