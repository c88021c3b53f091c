"""A table of texts and its output formats; text is escaped and never read as markup."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tabulate import tabulate

from adbench_harness.terminal import BOLD, PLAIN
from adbench_harness.wording import fold, longest, wrapped

# A private code point: escaping does not change it, and printable text never contains it.
_TIE = "\ue002"
_SIGNS = str.maketrans(
    {
        _TIE: "$^{*}$",
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "×": r"$\times$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "→": r"$\rightarrow$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "§": r"\S{}",
        "¶": r"\P{}",
        "–": "--",
        "…": r"\dots{}",
    }
)
_ESCAPED = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
)
_UNBROKEN = "\N{NO-BREAK SPACE}"
_GAP = 2
# Maximum width of a header's word.
_WORD = 16


@dataclass(frozen=True)
class Table:
    """``rows`` under ``headers``: the first ``labels`` columns are text, the others numbers.

    ``best`` has the (row, column) of the best numbers, ``tied`` those of rows that a test cannot
    tell from the best, ``sections`` the rows that start a section. ``optional``
    are columns that a terminal may leave out, the first one first, and ``more`` is the number of
    columns that the table leaves out already. ``notes`` are what a reader of the numbers should
    know; one that begins with a header goes with its column. ``remarks`` are about results that
    the table does not show, such as failed ones.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int
    best: frozenset[tuple[int, int]] = frozenset()
    sections: frozenset[int] = frozenset()
    caption: str = ""
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    tied: frozenset[tuple[int, int]] = frozenset()
    optional: Sequence[int] = ()
    more: int = 0

    def terminal(self, width: int, color: bool) -> str:
        """Text of ``width`` characters.

        Labels are folded and optional columns left out until the table fits. Columns that still do
        not fit follow below, with their labels.
        """
        kept, optional = [*range(len(self.headers))], list(self.optional)
        widths = self._widths(kept, width)
        while sum(widths.values()) + _GAP * (len(kept) - 1) > width and optional:
            kept.remove(optional.pop(0))
            widths = self._widths(kept, width)
        blocks = [
            self._block([*range(self.labels), *numbers], widths, color)
            for numbers in self._blocks(kept, widths, width)
        ]
        more = self.more + len(self.headers) - len(kept)
        parts = [
            self.caption,
            "* best" if self.best and not color else "",
            f"{more} more column{'s' * (more > 1)} with --all" if more else "",
        ]
        gone = tuple(self.headers[j] for j in range(len(self.headers)) if j not in kept)
        notes = [note for note in self.notes if not (gone and note.startswith(gone))]
        lines = [" · ".join(filter(None, parts)), *notes, *self.remarks]
        footer = "\n".join(wrapped(_printable(line), width) for line in lines)
        return "\n\n".join([*blocks, footer]) + "\n"

    def markdown(self) -> str:
        """A pipe table, the caption, and the notes as a list."""
        notes = "\n".join(f"- {escaped(note)}" for note in (*self.notes, *self.remarks))
        table = self._tabulate("pipe", escaped, ("**", "**"))
        return "\n\n".join(filter(None, [table, escaped(self.caption), notes])) + "\n"

    def html(self) -> str:
        """A fragment in ASCII, which is the same in every encoding of a page."""
        lines = [f"<p>{_html(line)}</p>" for line in (self.caption, *self.notes, *self.remarks)]
        text = "\n".join([self._tabulate("unsafehtml", _html, ("<b>", "</b>")), *lines]) + "\n"
        return text.encode("ascii", "xmlcharrefreplace").decode()

    def latex(self) -> str:
        """A ``table`` for a paper that loads booktabs; remarks are comments.

        The caption has the notes. A star marks the rows that tie with the best.
        """
        legend = ["best in bold"] if self.best else []
        if self.tied:
            legend.append(f"{_TIE} not significantly worse than the best")
        facts = " · ".join(filter(None, [_printable(self.caption), *legend]))
        sentences = [facts, *map(_printable, self.notes)]
        caption = " ".join(_latex(_sentence(text)) for text in sentences if text)
        rows = []
        for i, row in enumerate(self.rows):
            if i and i in self.sections:
                rows.append(r"\midrule")
            cells = []
            for j, text in enumerate(row):
                cell = _latex(_printable(text))
                cell = rf"\textbf{{{cell}}}" if (i, j) in self.best else cell
                cells.append(f"{cell}$^{{*}}$" if (i, j) in self.tied else cell)
            rows.append(f"{' & '.join(cells)} \\\\")
        columns = "l" * self.labels + "r" * (len(self.headers) - self.labels)
        return "\n".join(
            [
                *(f"% {_printable(line)}" for line in self.remarks),
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                f"{' & '.join(_latex(_printable(header)) for header in self.headers)} \\\\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

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

    def _widths(self, kept: Sequence[int], limit: int) -> dict[int, int]:
        """The columns' widths; labels are narrowed, at their brackets, until all fit ``limit``.

        If they cannot fit, the labels get half of it, or up to two thirds to keep words whole.
        """
        widths, least = {}, {}
        for j in kept:
            words = max(map(len, _heading(self.headers[j]).split(" ")))
            cells = [len(row[j]) + ((i, j) in self.best) for i, row in enumerate(self.rows)]
            widths[j] = max(*cells, min(words, _WORD))
            least[j] = max(*(longest(_printable(row[j])) for row in self.rows), min(words, _WORD))
        labels = range(self.labels)
        numbers = sum(width + _GAP for j, width in widths.items() if j >= self.labels)
        whole = sum(least[j] for j in labels) + _GAP * (self.labels - 1)
        shared = whole if limit // 2 < whole <= 2 * limit // 3 else limit // 2
        for room, narrowest in ((limit - numbers, least), (shared, dict.fromkeys(labels, 1))):
            narrowed = {j: widths[j] for j in labels}
            while sum(narrowed.values()) + _GAP * (self.labels - 1) > room:
                loose = [j for j in labels if narrowed[j] > narrowest[j]]
                if not loose:
                    break
                narrowed[max(loose, key=lambda j: narrowed[j])] -= 1
            else:
                return widths | narrowed
        return widths | narrowed

    def _blocks(
        self, kept: Sequence[int], widths: Mapping[int, int], width: int
    ) -> list[Sequence[int]]:
        """The columns of numbers, in blocks that fit next to the labels."""
        labels = used = sum(widths[j] for j in range(self.labels)) + _GAP * (self.labels - 1)
        blocks: list[list[int]] = [[]]
        for j in kept[self.labels :]:
            used += _GAP + widths[j]
            if used > width and blocks[-1]:
                blocks.append([])
                used = labels + _GAP + widths[j]
            blocks[-1].append(j)
        return list(blocks)

    # Not with Rich, which takes half a millisecond per row: seconds for a large store.
    def _block(self, columns: Sequence[int], widths: Mapping[int, int], color: bool) -> str:
        def lines(cells: Iterable[Sequence[str]]) -> Iterator[str]:
            for parts in zip_longest(*cells, fillvalue=""):
                line = (
                    part.ljust(widths[j]) if j < self.labels else part.rjust(widths[j])
                    for part, j in zip(parts, columns, strict=True)
                )
                yield (" " * _GAP).join(line).rstrip()

        heads = [fold(_heading(self.headers[j]), widths[j]) for j in columns]
        height = max(map(len, heads))
        rule = "─" * (sum(widths[j] + _GAP for j in columns) - _GAP)
        block = [*lines([""] * (height - len(head)) + head for head in heads), rule]
        mark = f"{BOLD}{{:>{{}}}}{PLAIN}" if color else "*{}"
        for i, row in enumerate(self.rows):
            if i and i in self.sections:
                block.append("")
            block += lines(
                [mark.format(row[j], widths[j])]
                if (i, j) in self.best
                else fold(_printable(row[j]), widths[j])
                for j in columns
            )
        return "\n".join(block).replace(_UNBROKEN, " ")


def _heading(text: str) -> str:
    """A header that may break between words, but not before the arrow."""
    return re.sub(r" (?=[↑↓])", _UNBROKEN, _printable(text))


def _printable(text: str) -> str:
    """The text without control characters, which could move the cursor or split a row."""
    return "".join(character if character.isprintable() else " " for character in text)


def _sentence(text: str) -> str:
    """The text as a sentence of a caption."""
    return text[:1].upper() + text[1:] + "." * (not text.endswith("."))


def _latex(text: str) -> str:
    """The text as LaTeX shows it."""
    return text.translate(_ESCAPED).translate(_SIGNS)


def _html(text: str) -> str:
    return html.escape(_printable(text))


_MARKS = re.compile(r"[\\`*|\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown reads as emphasis, links, code, tables or math; not a ``_`` inside a word."""
_LINKS = re.compile(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)
"""Where a mention, a reference or an address must be broken: a backslash does not stop these."""


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    plain = html.escape(_printable(text), quote=False)
    return _LINKS.sub("<!-- -->", _MARKS.sub(r"\\\g<0>", plain))
