"""Which rows of a data set differ significantly: the board's own tests, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adbench_harness.leaderboard.columns import Column
from adbench_harness.leaderboard.ties import StoredImages, ties
from adbench_harness.statistics import significance


@dataclass(frozen=True)
class Compared:
    """A row of the comparison: its position on the board, and what its tests and numbers say.

    ``values`` are by category (means over seeds), ``mean`` is over them; ``interval`` is the 95%
    interval of a single category's image AUROC; ``rank`` is the mean rank within categories.
    """

    index: int
    label: str
    page: str
    mean: float
    values: Mapping[str, float]
    interval: tuple[float, float] | None
    rank: float
    letters: str


@dataclass(frozen=True)
class Differences:
    """The complete rows of a board, the best first.

    ``groups`` are runs (first, last) of rows of which no two are ranked apart, empty if no test
    was possible; ``sentence`` is the board's. ``friedman`` is the p-value that all rows are
    equal (nan: not tested). ``left_out`` are the labels of rows that cannot be compared.
    """

    rows: Sequence[Compared]
    groups: Sequence[tuple[int, int]]
    sentence: str
    friedman: float
    left_out: Sequence[str]

    @property
    def categories(self) -> int:
        """The number of categories of every row."""
        return len(self.rows[0].values) if self.rows else 0


@dataclass(frozen=True)
class Candidate:
    """A row of the board, its finished trials, and whether it may be compared."""

    label: str
    name: str
    page: str
    trials: pd.DataFrame
    eligible: bool


def differences(
    candidates: Sequence[Candidate], metric: str, shown: Column, images: StoredImages
) -> Differences:
    """Compare the eligible ones of a board's rows, which are in the board's order."""
    from scipy import stats

    rows = [(i, row) for i, row in enumerate(candidates) if row.eligible]
    left_out = [row.label for row in candidates if not row.eligible]
    if len(rows) < 2:
        return Differences([], [], "", math.nan, left_out)
    told = ties(
        [row.trials for _, row in rows], [row.name for _, row in rows], metric, shown, images
    )
    values = pd.DataFrame([row.trials.groupby("category")[metric].mean() for _, row in rows])
    better = values.to_numpy(float) * (1 if shown.higher_is_better else -1)
    groups: Sequence[tuple[int, int]] = []
    if told.p is not None:
        # As in the board's ranks: if the test cannot decide, rows tie if they look the same.
        shown_means = np.round(better.mean(axis=1), 3)
        apart = np.isnan(told.p) & (shown_means[:, None] != shown_means)
        groups = significance.cliques(np.arange(len(rows)), np.where(apart, 0.0, told.p))
    ranks = stats.rankdata(-better, axis=0).mean(axis=1)
    return Differences(
        rows=[
            Compared(
                index=index,
                label=row.label,
                page=row.page,
                mean=float(values.iloc[place].mean()),
                values={str(name): float(value) for name, value in values.iloc[place].items()},
                interval=_interval(row.trials, metric) if values.shape[1] == 1 else None,
                rank=float(ranks[place]),
                letters=_letters(place, groups) if told.p is not None else "",
            )
            for place, (index, row) in enumerate(rows)
        ],
        groups=groups,
        sentence=told.sentence,
        friedman=significance.friedman(better),
        left_out=left_out,
    )


def _interval(trials: pd.DataFrame, metric: str) -> tuple[float, float] | None:
    """The 95% interval of one category, averaged over seeds as its AUROC is."""
    found: list[Any] = [row.get(metric) for row in trials["intervals"]]
    if not found or any(ends is None for ends in found):
        return None
    low, high = np.mean(found, axis=0)
    return float(low), float(high)


def _letters(index: int, groups: Sequence[tuple[int, int]]) -> str:
    """The groups of a row: rows that share a letter do not differ significantly."""
    return " ".join(
        chr(ord("a") + number % 26) * (1 + number // 26)
        for number, (first, last) in enumerate(groups)
        if first <= index <= last
    )
