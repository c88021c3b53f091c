"""The ranked board: one row per combination, or per combination and category."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.leaderboard.columns import (
    ABSENT,
    AXES,
    KEYS,
    Column,
    column,
    primary,
)
from adbench_harness.leaderboard.frame import REPEATS, Summary, measured, partial, summarise
from adbench_harness.leaderboard.table import Table
from adbench_harness.leaderboard.ties import StoredImages, ties
from adbench_harness.results.store import Heading
from adbench_harness.results.trial import NONE

INTERVAL = "image_auroc"
"""The metric whose confidence interval has a column."""
INTERVAL_HEADER = "95% CI"
_NO_WIDTH = 1e-9
"""Half the width of an interval that was not estimated, such as at AUROC 1: the variance is 0."""


def board(
    trials: pd.DataFrame,
    metric: str | None,
    headings: Mapping[str, Heading],
    *,
    per_category: bool,
    images: StoredImages = lambda _: {},
    metrics: Sequence[str] = (),
    keep: Collection[str] = (),
) -> Table:
    """Rank rows within each data set (and category) by ``metric``, or by the ``primary`` metric.

    The columns are ``metrics``, or all that were measured. Axes that all rows share are in the
    caption only, except those to ``keep``.

    Complete rows share a rank if their difference is not significant, and a note names the test.
    If the test cannot decide, rows whose shown numbers are equal share a rank. Rows that lack a
    category come below the complete ones, and rows whose numbers used the test images come last.
    Neither kind has a rank or is marked as best.
    """
    keys = list(KEYS if per_category else AXES)
    summary = summarise(trials, keys)
    names = list(metrics) or measured(trials, [metric] if metric else ())
    columns = [column(name, headings) for name in names]
    means, seen = summary.mean[names].to_numpy(), summary.seen[names].to_numpy()
    fair = summary.fair.to_numpy()
    competing = summary.whole[names].to_numpy() & fair[:, None]

    labels = summary.mean.index.to_frame(index=False)
    order: list[int] = []
    starts = set()
    ranks = np.full(len(labels), ABSENT, dtype=object)
    best = np.zeros_like(competing)
    section_keys = ["dataset", "category"] if per_category else ["dataset"]
    sections = labels.groupby(section_keys)
    ran = trials[trials["status"].eq("ok")]
    trials_of = ran.groupby(keys).indices
    varying = [axis for axis in AXES[1:] if labels[axis].nunique() > 1] or ["model"]
    notes = []
    unranked = False
    tied: set[tuple[int, int]] = set()
    for key, members in sections.indices.items():
        rows = np.asarray(members)
        there = [name for name, some in zip(names, seen[rows].sum(axis=0), strict=True) if some]
        lead = names.index(metric or primary(there or names))
        sign = -1 if columns[lead].higher_is_better else 1
        # The last key sorts first.
        rows = rows[np.lexsort((sign * means[rows, lead], -seen[rows, lead], ~fair[rows]))]
        whole = rows[competing[rows, lead]]
        ranks[whole] = _ranks(columns[lead], means[whole, lead])
        unranked |= bool((fair[rows] & ~competing[rows, lead] & (seen[rows, lead] > 0)).any())
        found = [trials_of[tuple(labels.loc[row, keys])] for row in whole]
        told = ties(
            [ran.iloc[chosen] for chosen in found],
            [" · ".join(v for v in labels.loc[row, varying] if v != NONE) or NONE for row in whole],
            names[lead],
            columns[lead],
            images,
        )
        if told.ranks is not None:
            ranks[whole] = told.ranks.astype(str)
            first = whole[told.ranks == told.ranks.min()]
            tied |= {(int(row), lead) for row in first} if len(first) > 1 else set()
        if told.sentence:
            where = key if isinstance(key, tuple) else (key,)
            several = "/".join(map(str, where)) + ": " if sections.ngroups > 1 else ""
            notes.append(several + told.sentence)
        for j, shown in enumerate(columns):
            best[rows, j] = shown.best(means[rows, j], competing[rows, j])
        starts.add(len(order))
        order += rows.tolist()

    notes += [
        note + "; rows that lack a category are not ranked" * unranked
        for note in partial(summary, names)
    ]
    labels = labels.join(_counts(trials, keys), on=keys)
    same = {name for name in labels if labels[name].nunique() == 1 and name not in keep}
    if len(labels) == 1:
        same.discard("model")
    texts = [name for name in labels if name not in same]
    if "failed" in same and labels["failed"].any():
        texts.append("failed")
    cells = {
        shown.header: shown.cells(
            summary.mean[name], summary.spread[name], summary.seen[name], summary.total
        )
        for name, shown in zip(names, columns, strict=True)
    }
    reach = _reach(ran, keys).reindex(summary.mean.index).where(summary.whole[INTERVAL])
    if INTERVAL in names and reach.notna().any():
        ends = zip(summary.mean[INTERVAL], reach, strict=True)
        cells[INTERVAL_HEADER] = [_interval(mean, wide) for mean, wide in ends]
        notes += _no_interval(summary, reach)
        headers = [shown.header for shown in columns]
        headers.insert(names.index(INTERVAL) + 1, INTERVAL_HEADER)
        cells = {header: cells[header] for header in headers}
    table = pd.DataFrame({"#": ranks, **labels[texts].astype(str), **cells}).iloc[order]
    first = 1 + len(texts)
    place = {row: number for number, row in enumerate(order)}
    at = [first + list(cells).index(shown.header) for shown in columns]
    return Table(
        headers=list(table.columns),
        rows=table.to_numpy().tolist(),
        labels=first,
        best=frozenset((int(i), at[j]) for i, j in np.argwhere(best[order])),
        sections=frozenset(starts),
        tied=frozenset((place[row], at[j]) for row, j in tied),
        caption=caption(
            trials,
            columns,
            hidden=[axis for axis in KEYS if axis in same or axis not in keys],
            repeated=repeats(ran) if "seeds" in same else "",
        ),
        notes=notes,
    )


def merged(table: Table) -> Table:
    """The board with one column for all components of a row."""
    axes = [j for j, header in enumerate(table.headers) if header in AXES and header != "dataset"]
    if len(axes) < 2:
        return table
    first, others = axes[0], set(axes[1:])

    def one(cells: Sequence[str], text: str) -> list[str]:
        joined = [text if j == first else cell for j, cell in enumerate(cells)]
        return [cell for j, cell in enumerate(joined) if j not in others]

    def moved(cells: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        return frozenset((i, j - len(others)) for i, j in cells)

    return replace(
        table,
        headers=one(table.headers, "method"),
        rows=[one(row, " · ".join(row[j] for j in axes if row[j] != NONE)) for row in table.rows],
        labels=table.labels - len(others),
        best=moved(table.best),
        tied=moved(table.tied),
    )


def _reach(ran: pd.DataFrame, keys: list[str]) -> pd.Series[float]:
    """By group: half the width of the 95% interval of the mean image AUROC over its categories.

    The interval describes how much the number varies with the choice of test images. Categories are
    treated as independent, repeats on the same images are not. NaN if a trial has no interval.
    """
    lows = ran["intervals"].map(lambda found: found.get(INTERVAL, (math.nan,))[0])
    wide = (ran[INTERVAL] - lows).groupby([ran[key] for key in dict.fromkeys([*keys, "category"])])
    by_category = wide.mean().where(wide.count() == wide.size())
    groups = by_category.pow(2).groupby(level=keys)
    reach: pd.Series[float] = groups.sum(min_count=1).pow(0.5) / groups.size()
    return reach.where(groups.count() == groups.size())


def _interval(mean: float, reach: float) -> str:
    if not reach > _NO_WIDTH:
        return ABSENT
    low, high = max(0.0, mean - reach), min(1.0, mean + reach)
    return f"{100 * low:.1f}–{100 * high:.1f}"


def _no_interval(summary: Summary, reach: pd.Series[float]) -> list[str]:
    """Why rows with an image AUROC have no interval, in a sentence; empty if all have one."""
    whole = summary.whole[INTERVAL]
    reasons = {
        "a row that lacks a category has none": summary.mean[INTERVAL].notna() & ~whole,
        "it needs at least two test images of each kind": reach.isna() & whole,
        "it cannot be estimated at AUROC 100 or 0, or from equal scores": reach.le(_NO_WIDTH),
    }
    found = [reason for reason, rows in reasons.items() if rows.any()]
    return [f"{INTERVAL_HEADER} {ABSENT}: {'; '.join(found)}"] if found else []


def _counts(trials: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """By group: the distinct seeds that ran, and the failed trials."""
    ran = trials["status"].eq("ok")
    seeds = trials[ran].drop_duplicates([*keys, *REPEATS]).groupby(keys).size()
    failed = (~ran).groupby([trials[key] for key in keys]).sum()
    return pd.DataFrame({"seeds": seeds, "failed": failed}).fillna(0).astype(int)


def _ranks(shown: Column, means: NDArray[np.float64]) -> list[str]:
    """Ranks such as 1, 2, 2, 4: rows whose shown numbers are equal share a rank."""
    first: dict[str, int] = {}
    return [str(first.setdefault(shown.show(mean), i)) for i, mean in enumerate(means, start=1)]


def repeats(trials: pd.DataFrame) -> str:
    """The number of repeats: seeds, splits, draws of shots, or several of these."""
    names = {"splits": "split_seed", "draws of shots": "shot_seed", "seeds": "seed"}
    counts = {name: trials[column].nunique() for name, column in names.items()}
    several = [f"{n} {name}" for name, n in counts.items() if n > 1]
    return " x ".join(several) or "1 seed" * bool(counts["seeds"])


def caption(
    trials: pd.DataFrame,
    columns: Iterable[Column],
    *,
    hidden: Iterable[str],
    repeated: str,
) -> str:
    """The facts that no column shows: constant axes, and the number of averaged categories."""
    parts = []
    for axis in hidden:
        value = trials[axis].iloc[0]
        places = len(trials[["dataset", axis]].drop_duplicates())
        if axis == "category" and trials[axis].nunique() > 1:
            parts.append(f"{places} categories")
        elif value != NONE:
            parts.append(value if axis == "device" else f"{axis} {value}")
    if repeated:
        parts.append(repeated)
    if any(shown.unit == "%" for shown in columns):
        parts.append("scores in %")
    return " · ".join(parts)
