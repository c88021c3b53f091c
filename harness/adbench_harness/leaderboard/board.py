"""The ranked board: a row a combination, or a combination and category."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.leaderboard.columns import ABSENT, AXES, KEYS, Column, column, primary
from adbench_harness.leaderboard.frame import REPEATS, caption, measured, summarise
from adbench_harness.leaderboard.table import Table


def board(
    trials: pd.DataFrame,
    metric: str | None,
    directions: Mapping[str, bool],
    *,
    per_category: bool,
) -> Table:
    """Rank within each data set (and category) by ``metric``, or else by the ``primary`` one.

    Rows that lack a category come below the complete ones; those whose numbers looked at the test
    part come last and without a rank. Neither is marked as best.
    """
    keys = list(KEYS if per_category else AXES)
    summary = summarise(trials, keys)
    names = measured(trials, metric)
    columns = [column(name, directions) for name in names]
    means, seen = summary.mean[names].to_numpy(), summary.seen[names].to_numpy()
    fair = summary.fair.to_numpy()
    competing = summary.whole[names].to_numpy() & fair[:, None]

    labels = summary.mean.index.to_frame(index=False)
    order: list[int] = []
    starts = set()
    ranks = np.full(len(labels), ABSENT, dtype=object)
    best = np.zeros_like(competing)
    sections = labels.groupby(["dataset", "category"] if per_category else ["dataset"])
    for rows in sections.indices.values():
        there = [name for name, some in zip(names, seen[rows].any(axis=0), strict=True) if some]
        lead = names.index(metric or primary(there or names))
        sign = -1 if columns[lead].higher_is_better else 1
        # The last key sorts first.
        rows = rows[np.lexsort((sign * means[rows, lead], -seen[rows, lead], ~fair[rows]))]
        ranked = rows[fair[rows] & (seen[rows, lead] > 0)]
        ranks[ranked] = _ranks(columns[lead], means[ranked, lead], seen[ranked, lead])
        for j, shown in enumerate(columns):
            best[rows, j] = shown.best(means[rows, j], competing[rows, j])
        starts.add(len(order))
        order += rows.tolist()

    labels = labels.join(_remarks(trials, keys), on=keys)
    same = {name for name in labels if labels[name].nunique() == 1 and name != "model"}
    texts = [name for name in labels if name not in same]
    if "failed" in same and labels["failed"].any():
        texts.append("failed")
    cells = {
        shown.header: shown.cells(
            summary.mean[name], summary.spread[name], summary.seen[name], summary.total
        )
        for name, shown in zip(names, columns, strict=True)
    }
    table = pd.DataFrame({"#": ranks, **labels[texts].astype(str), **cells}).iloc[order]
    first = 1 + len(texts)
    return Table(
        headers=list(table.columns),
        rows=table.to_numpy().tolist(),
        labels=first,
        best=frozenset((int(i), first + int(j)) for i, j in np.argwhere(best[order])),
        sections=frozenset(starts),
        caption=caption(
            trials,
            columns,
            hidden=[axis for axis in KEYS if axis in same or axis not in keys],
            seeds=labels["seeds"].iloc[0] if "seeds" in same else None,
            flags=labels["flags"].iloc[0] if "flags" in same else "",
        ),
    )


def _remarks(trials: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """By group: the distinct seeds that ran, the failed trials, the flags, each once."""
    ran = trials["status"].eq("ok")
    flags = trials.explode("flags").dropna(subset="flags").drop_duplicates([*keys, "flags"])
    groups = trials.groupby(keys).size().index
    return (
        pd.DataFrame(
            {
                "seeds": trials[ran].drop_duplicates([*keys, *REPEATS]).groupby(keys).size(),
                "failed": trials[~ran].groupby(keys).size(),
                "flags": flags.groupby(keys)["flags"].agg(", ".join),
            },
            index=groups,
        )
        .fillna({"seeds": 0, "failed": 0, "flags": ""})
        .astype({"seeds": int, "failed": int})
    )


def _ranks(shown: Column, means: NDArray[np.float64], seen: NDArray[np.int64]) -> list[str]:
    """1, 2, 2, 4: rows that look the same share a rank."""
    ranks: list[str] = []
    previous = None
    for place, (mean, count) in enumerate(zip(means, seen, strict=True), start=1):
        current = (shown.show(mean), count)
        ranks.append(ranks[-1] if current == previous else str(place))
        previous = current
    return ranks
