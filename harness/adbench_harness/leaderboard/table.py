"""A table of texts and its output formats; text is escaped and never read as markup."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from textwrap import fill, wrap

from tabulate import tabulate

# Private code points: escaping does not change them, and printable text never contains them.
_BEST = ("\ue000", "\ue001")
_LATEX = str.maketrans(
    {
        _BEST[0]: r"\textbf{",
        _BEST[1]: "}",
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "†": r"$\dagger$",
    }
)
_TIED = "\N{NO-BREAK SPACE}"
_GAP = 2
# Maximum width of a header's word, and minimum width of a shortened column of labels.
_WORD = 16
_LABEL = 8


@dataclass(frozen=True)
class Table:
    """``rows`` under ``headers``: the first ``labels`` columns are text, the others numbers.

    ``best`` has the (row, column) of the marked cells, ``sections`` the rows that start a section.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int
    best: frozenset[tuple[int, int]] = frozenset()
    sections: frozenset[int] = frozenset()
    caption: str = ""
    notes: Sequence[str] = ()

    def terminal(self, width: int, color: bool) -> str:
        """Text of ``width`` characters; columns that do not fit follow below, with their labels."""
        widths = self._widths(width // 2)
        blocks = [
            self._block([*range(self.labels), *numbers], widths, color)
            for numbers in self._blocks(widths, width)
        ]
        legend = " · * best" if self.best and not color else ""
        lines = [fill(_printable(line), width) for line in (self.caption + legend, *self.notes)]
        return "\n\n".join([*blocks, "\n".join(lines)]) + "\n"

    def markdown(self) -> str:
        """A pipe table, the caption, and the notes as a list."""
        notes = "\n".join(f"- {escaped(note)}" for note in self.notes)
        table = self._tabulate("pipe", escaped, ("**", "**"))
        return "\n\n".join(filter(None, [table, escaped(self.caption), notes])) + "\n"

    def html(self) -> str:
        """A fragment in ASCII, which is the same in every encoding of a page."""
        lines = [f"<p>{_html(line)}</p>" for line in (self.caption, *self.notes)]
        text = "\n".join([self._tabulate("unsafehtml", _html, ("<b>", "</b>")), *lines]) + "\n"
        return text.encode("ascii", "xmlcharrefreplace").decode()

    def latex(self) -> str:
        """A booktabs ``tabular`` under the caption and the notes as comments."""
        comments = [f"% {_printable(line)}" for line in (self.caption, *self.notes)]
        # This style escapes text itself, so LaTeX commands are inserted afterwards.
        table = self._tabulate("latex_booktabs", _printable, _BEST)
        return "\n".join([*comments, table.translate(_LATEX)]) + "\n"

    def _tabulate(self, style: str, escape: Callable[[str], str], mark: tuple[str, str]) -> str:
        numbers = len(self.headers) - self.labels
        text: str = tabulate(
            [
                [
                    escape(text).join(mark) if (i, j) in self.best else escape(text)
                    for j, text in enumerate(row)
                ]
                for i, row in enumerate(self.rows)
            ],
            [escape(header) for header in self.headers],
            style,
            disable_numparse=True,
            colalign=["left"] * self.labels + ["right"] * numbers,
        )
        return text

    def _widths(self, limit: int) -> list[int]:
        """The columns' widths; the widest labels are narrowed until all labels fit ``limit``."""
        widths = []
        for j, header in enumerate(self.headers):
            words = max(map(len, _heading(header).split(" ")))
            cells = max(len(row[j]) + ((i, j) in self.best) for i, row in enumerate(self.rows))
            widths.append(max(cells, min(words, _WORD)))
        labels = widths[: self.labels]
        while sum(labels) + _GAP * len(labels) > limit and max(labels) > _LABEL:
            labels[labels.index(max(labels))] -= 1
        return [*labels, *widths[self.labels :]]

    def _blocks(self, widths: Sequence[int], width: int) -> list[range]:
        """The columns of numbers, in blocks that fit next to the labels."""
        labels = used = sum(widths[: self.labels]) + _GAP * (self.labels - 1)
        cuts = [self.labels]
        for j in range(self.labels, len(widths)):
            used += _GAP + widths[j]
            if used > width and j > cuts[-1]:
                cuts.append(j)
                used = labels + _GAP + widths[j]
        return [range(*cut) for cut in pairwise([*cuts, len(widths)])]

    # Not with Rich, which takes half a millisecond per row: seconds for a large store.
    def _block(self, columns: Sequence[int], widths: Sequence[int], color: bool) -> str:
        def lines(cells: Iterable[Sequence[str]]) -> Iterator[str]:
            for parts in zip_longest(*cells, fillvalue=""):
                line = (
                    part.ljust(widths[j]) if j < self.labels else part.rjust(widths[j])
                    for part, j in zip(parts, columns, strict=True)
                )
                yield (" " * _GAP).join(line).rstrip()

        heads = [_fold(_heading(self.headers[j]), widths[j]) for j in columns]
        height = max(map(len, heads))
        rule = "─" * (sum(widths[j] + _GAP for j in columns) - _GAP)
        block = [*lines([""] * (height - len(head)) + head for head in heads), rule]
        mark = "\x1b[1m{:>{}}\x1b[0m" if color else "*{}"
        for i, row in enumerate(self.rows):
            if i and i in self.sections:
                block.append("")
            block += lines(
                [mark.format(row[j], widths[j])]
                if (i, j) in self.best
                else _fold(_printable(row[j]), widths[j])
                for j in columns
            )
        return "\n".join(block).replace(_TIED, " ")


def _heading(text: str) -> str:
    """A header that may break between words, but not before the arrow."""
    return re.sub(r" (?=[↑↓])", _TIED, _printable(text))


def _fold(text: str, width: int) -> list[str]:
    return [text] if len(text) <= width else wrap(text, width)


def _printable(text: str) -> str:
    """The text without control characters, which could move the cursor or split a row."""
    return "".join(character if character.isprintable() else " " for character in text)


def _html(text: str) -> str:
    return html.escape(_printable(text))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*|\[\]])", r"\\\1", html.escape(_printable(text), quote=False))
