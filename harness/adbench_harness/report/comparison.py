"""Comparison of methods: accuracy against cost, and which differences are significant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.leaderboard.columns import UNRANKED
from adbench_harness.leaderboard.frame import method, summarise
from adbench_harness.statistics import significance

Array = NDArray[np.floating[Any]]

COSTS = ("ms_per_image", "flops", "peak_mb")
MOST = 20
"""Maximum number of methods in a critical-difference diagram, so that it stays readable."""


def front(values: Array, costs: Array) -> NDArray[np.bool_]:
    """The Pareto front [K]: no other point is as good and as cheap, and better in one of both."""
    good, cheap = values[:, None] <= values, costs[:, None] >= costs
    better = (values[:, None] < values) | (costs[:, None] > costs)
    beaten = np.any(good & cheap & better, axis=1)
    return np.asarray(~beaten)


@dataclass(frozen=True)
class Ranks:
    """Methods by their mean rank over ``blocks`` categories, in groups without a significant
    difference.

    ``needed`` is the number of categories that a significant difference needs. ``friedman`` is the
    p-value of Friedman's test that all methods are equal. ``left_out`` are the methods that lack a
    category, used the test images, or are not among the ``MOST`` best.
    """

    methods: tuple[str, ...]
    mean: Array
    cliques: Sequence[tuple[int, int]]
    friedman: float
    blocks: int
    needed: int
    left_out: tuple[str, ...]

    def letters(self, index: int) -> str:
        """The groups of a method: methods that share a letter do not differ significantly."""
        return " ".join(
            chr(ord("a") + number)
            for number, (first, last) in enumerate(self.cliques)
            if first <= index <= last
        )


def ranked(trials: pd.DataFrame, metric: str, *, higher_is_better: bool) -> Ranks:
    """Rank methods by ``metric`` in each category of each data set, after averaging seeds."""
    from scipy import stats

    ran = trials.assign(method=method(trials, but="dataset"))
    cells = summarise(ran, ["method", "dataset", "category"]).mean[metric]
    values = cells.unstack(["dataset", "category"])
    values = values.dropna(axis="columns", how="all")
    fair = ran.groupby("method")["flags"].agg(lambda flags: all(map(UNRANKED.isdisjoint, flags)))
    whole = values[values.notna().all(axis=1) & fair.loc[values.index]]
    table = whole.to_numpy(float) * (1 if higher_is_better else -1)
    mean = stats.rankdata(-table, axis=0).mean(axis=1) if table.size else np.empty(0)
    order = np.argsort(mean, kind="stable")[:MOST]
    chosen = table[order]
    names = whole.index[order].tolist()
    mean = stats.rankdata(-chosen, axis=0).mean(axis=1) if chosen.size else mean
    again = np.argsort(mean, kind="stable")
    p = significance.holm(significance.wilcoxon(chosen)) if len(chosen) > 1 else np.empty((0, 0))
    return Ranks(
        methods=tuple(names[index] for index in again),
        mean=mean[again],
        cliques=significance.cliques(again, p) if len(chosen) > 1 else [],
        friedman=significance.friedman(chosen),
        blocks=table.shape[1],
        needed=significance.needed(len(chosen)),
        left_out=tuple(sorted(set(values.index) - set(names))),
    )
