"""Writes results as pages that open from disk: a board, a page for each row, a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adbench_harness.leaderboard.columns import column, headings
from adbench_harness.leaderboard.frame import measured, select
from adbench_harness.leaderboard.labels import relabelled
from adbench_harness.report import facts, groups
from adbench_harness.report.categories import Categories
from adbench_harness.report.folder import Folder
from adbench_harness.report.section import Row, Section, Sections
from adbench_harness.results.store import Store

if TYPE_CHECKING:
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plugins import Catalogue


@dataclass(frozen=True)
class Written:
    """The result of ``write``: the number of rows, and the reasons for missing images."""

    rows: int
    missing: tuple[str, ...]


def write(
    store: Store,
    output: Path,
    *,
    catalogue: Catalogue,
    locations: Locations,
    metric: str | None = None,
    images: int = 12,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write the site of a store's results into ``output``.

    ``catalogue`` has the data sets and the papers' numbers, ``locations`` the folders of images; if
    images are missing, the pages say so. ``metric`` ranks the rows; ``images`` is the maximum in a
    gallery. Raises UserError if there are no results, or ``output`` contains something else.
    """
    results = list(store.read())
    trials, parameters = relabelled(select(results, (), {}), results)
    measured(trials, [metric] if metric else ())
    known = headings(results)
    folder = Folder(output)
    sections = Sections(store, results, known, catalogue.reported())
    boards = [
        sections.of(str(name), part, metric) for name, part in trials.groupby("dataset", sort=True)
    ]
    rows = [(board, row) for board in boards for row in board.rows]
    categories = Categories(store, folder, catalogue, locations, images)
    categories.write([row for _, row in rows], results, progress)
    compared = {page for one in categories.comparable for page in one.rows}
    folder.page(
        "index.html",
        "index.html",
        sections=boards,
        counts={
            "row": len(rows),
            "data set": len(boards),
            "category": len(trials[["dataset", "category"]].drop_duplicates()),
            "trial": len(trials),
        },
        compared=compared,
        parameters=parameters,
    )
    if compared:
        folder.page("compare.html", "compare.html", comparable=categories.comparable)

    def page(board: Section, row: Row) -> None:
        own = [results[index] for index in row.trials.index]
        names = measured(row.trials)
        columns = [column(name, known) for name in names]
        ran = row.trials["status"].eq("ok").any()
        folder.page(
            row.page,
            "row.html",
            section=board,
            row=row,
            comparable=row.page in compared,
            panels=categories.panels[row.page],
            choices=facts.choices(own[0]),
            facts=facts.provenance(own),
            numbers=facts.numbers(row.trials, names, known) if ran else None,
            groups=[groups.groups(*each, None) for each in zip(names, columns, strict=True)],
            results=own,
            failures=list({f.traceback: (r, f) for r in own for f in r.failures}.values()),
        )

    for board, row in rows:
        page(board, row)
    return Written(len(rows), tuple(categories.missing))
