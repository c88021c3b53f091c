"""Every row in every category, next to the papers' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from adbench_harness.leaderboard.columns import Column
from adbench_harness.leaderboard.frame import measured
from adbench_harness.leaderboard.pivot import pivot
from adbench_harness.leaderboard.printed import MEAN, beside
from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import Heading
from adbench_harness.types import Reported

_METRICS = ("image_auroc", "pixel_auroc", "aupro", "accuracy")
"""The metrics that have a table if several categories were measured."""


class Places:
    """The tables of a data set's ``trials`` by category.

    ``reported`` are the papers' numbers for the data set, ``columns`` those of the measured
    metrics. ``printed`` says whether a table has reported numbers.
    """

    def __init__(
        self,
        trials: pd.DataFrame,
        reported: Sequence[Reported],
        columns: Mapping[str, Column],
        headings: Mapping[str, Heading],
    ) -> None:
        categories = set(trials["category"])
        # A mean over more categories than were measured cannot be compared with the measured mean.
        rows = [
            row
            for row in reported
            if row.category in categories
            or (row.category == MEAN and row.categories <= len(categories))
        ]
        self.printed = bool(rows)
        self._together, self._notes = beside(trials, rows) if rows else (trials, [])
        self._several = len(categories) > 1
        self._columns = columns
        self._headings = headings

    def tables(self, lead: str | None) -> Iterator[tuple[str, Table]]:
        """A title and a table for each metric that is worth one, the one that ranks first."""
        chosen: set[str] = set()
        if lead and self._several:
            chosen = {name for name in (lead, *_METRICS) if name in self._columns}
        if self.printed:
            counted = self._together.loc[self._together["reported"]]
            both = set(measured(self._together)) & set(self._columns)
            chosen |= {name for name in both if counted[name].notna().any()}
        order = list(self._columns)
        for name in sorted(chosen, key=lambda name: (name != lead, order.index(name))):
            table = pivot(self._together, "method", "category", name, self._headings)
            yield self._columns[name].title, replace(table, notes=(*table.notes, *self._notes))
