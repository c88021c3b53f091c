"""A table of texts, and how each format writes it; no text is ever taken for markup."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text
from tabulate import tabulate

# Private code points around the best cells: no escaping touches them, and no text has them, since
# they do not count as printable.
_BEST, _END = "\ue000", "\ue001"
_LATEX = {"±": r"$\pm$", "·": r"$\cdot$", "↑": r"$\uparrow$", "↓": r"$\downarrow$"}
_GAP = 2
_WORD = 24


@dataclass(frozen=True)
class Table:
    """``rows`` under ``headers``: first ``labels`` columns of text, then numbers.

    ``best`` holds (row, column) of the marked cells, ``sections`` the rows that start a new part.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int
    best: frozenset[tuple[int, int]] = frozenset()
    sections: frozenset[int] = frozenset()
    caption: str = ""
    notes: Sequence[str] = ()

    def terminal(self, width: int, color: bool) -> str:
        """Text of ``width`` columns; numbers that do not fit follow below, beside their labels."""
        output = io.StringIO()
        console = Console(
            file=output,
            width=width,
            force_terminal=color,
            color_system="standard" if color else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        for block in self._blocks(width):
            console.print(self._block(block, color))
        legend = " · * best" if self.best and not color else ""
        for line in (self.caption + legend, *self.notes):
            console.print(Text(_printable(line)))
        return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())

    def markdown(self) -> str:
        """A pipe table, the caption, and the notes as a list."""
        table = self._tabulate("pipe", _markdown).replace(_BEST, "**").replace(_END, "**")
        notes = "\n".join(f"- {_markdown(note)}" for note in self.notes)
        return "\n\n".join(filter(None, [table, _markdown(self.caption), notes])) + "\n"

    def html(self) -> str:
        """A fragment in ASCII, so that no page's encoding can spoil it."""
        table = self._tabulate("unsafehtml", _html).replace(_BEST, "<b>").replace(_END, "</b>")
        lines = [f"<p>{_html(line)}</p>" for line in (self.caption, *self.notes)]
        text = "\n".join([table, *lines]) + "\n"
        return text.encode("ascii", "xmlcharrefreplace").decode()

    def latex(self) -> str:
        """A booktabs ``tabular`` under the caption and the notes as comments."""
        comments = [f"% {_printable(line)}" for line in (self.caption, *self.notes)]
        signs = str.maketrans({_BEST: r"\textbf{", _END: "}", **_LATEX})
        # This style escapes for itself.
        table = self._tabulate("latex_booktabs", _printable).translate(signs)
        return "\n".join([*comments, table]) + "\n"

    def _tabulate(self, style: str, escape: Callable[[str], str]) -> str:
        rows = [
            [
                f"{_BEST}{escape(text)}{_END}" if (i, j) in self.best else escape(text)
                for j, text in enumerate(row)
            ]
            for i, row in enumerate(self.rows)
        ]
        return tabulate(
            rows,
            [escape(header) for header in self.headers],
            style,
            disable_numparse=True,
            colalign=["left" if j < self.labels else "right" for j in range(len(self.headers))],
        )

    def _blocks(self, width: int) -> list[range]:
        """The columns of numbers, cut so that each block fits beside the labels."""
        widths = [self._width(j) + _GAP for j in range(len(self.headers))]
        # Labels fold rather than take more than half of the width.
        room = width - min(sum(widths[: self.labels]), width // 2)
        cuts, used = [self.labels], 0
        for j in range(self.labels, len(widths)):
            used += widths[j]
            if used > room and j > cuts[-1]:
                cuts.append(j)
                used = widths[j]
        return [range(*cut) for cut in pairwise([*cuts, len(widths)])]

    def _width(self, j: int) -> int:
        """A column's width in characters: its widest text, while a header may break into words."""
        # The arrow stays with the word before it.
        words = re.sub(r" ([↑↓])", r"_\1", self.headers[j]).split()
        mark = any(column == j for _, column in self.best)
        texts = max((cell_len(row[j]) for row in self.rows), default=0) + mark
        return max(texts, min(max(map(cell_len, words)), _WORD))

    def _block(self, block: range, color: bool) -> RichTable:
        table = RichTable(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0)
        )
        shown = [*range(self.labels), *block]
        marked = {j for _, j in self.best} if not color else set()
        for j in shown:
            number = j >= self.labels
            table.add_column(
                Text(_printable(self.headers[j])),
                justify="right" if number else "left",
                width=self._width(j) if number else None,
                overflow="fold",
            )
        for i, row in enumerate(self.rows):
            if i in self.sections:
                table.add_section()
            cells = []
            for j in shown:
                best = (i, j) in self.best
                mark = ("*" if best else " ") if j in marked else ""
                style = "bold" if best and color else ""
                cells.append(Text(_printable(row[j]) + mark, style=style))
            table.add_row(*cells)
        return table


def _printable(text: str) -> str:
    """Control characters could move the cursor, or break a row in two."""
    return "".join(character if character.isprintable() else " " for character in text)


def _html(text: str) -> str:
    return html.escape(_printable(text))


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*|\[\]])", r"\\\1", html.escape(_printable(text), quote=False))
