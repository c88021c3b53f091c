"""Two axes against each other, as in the papers: categories by methods, say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.board import caption
from adbench_harness.leaderboard.columns import ABSENT, AXES, KEYS, column
from adbench_harness.leaderboard.frame import REPEATS, Summary, method, summarise
from adbench_harness.leaderboard.table import Table

PIVOTS = (*KEYS, "seed", "method")
_AVERAGED = ("category", "dataset", "seed")


def grid(trials: pd.DataFrame, rows: str, columns: str) -> Summary:
    """A summary of the cells of ``rows`` by ``columns``, two of ``PIVOTS``.

    Raises UserError where a cell would average over more than one combination.
    """
    for axis in (rows, columns):
        if axis not in PIVOTS:
            raise UserError(f"no axis {axis!r} to pivot on: choose from {', '.join(PIVOTS)}")
    if rows == columns:
        raise UserError(f"rows and columns are both {rows!r}: choose two different ones")
    keys = [rows, columns]
    trials = trials.assign(method=method(trials, but=columns if rows == "method" else rows))
    cells = trials.groupby(keys)
    for axis in AXES:
        if axis not in keys and cells[axis].nunique().gt(1).any():
            values = ", ".join(sorted(trials[axis].unique()))
            raise UserError(
                f"{rows} by {columns} would average over {axis} ({values}): make {axis} one of "
                "the two, use 'method', or select one of them"
            )
    return summarise(trials, keys)


def pivot(
    trials: pd.DataFrame, rows: str, columns: str, metric: str, directions: Mapping[str, bool]
) -> Table:
    """``metric`` by two axes, with a mean over the complete cells.

    The columns compete; where only the rows are methods, they do, and the mean is a column.
    Numbers that looked at the test part bear a dagger and do not compete.
    """
    turned = columns in _AVERAGED and rows not in _AVERAGED
    across = rows if turned else columns
    summary = grid(trials, rows, columns)
    shown = column(metric, directions)
    mean, seen = summary.mean[metric], summary.seen[metric]
    texts = pd.Series(
        shown.cells(mean, summary.spread[metric], seen, summary.total), index=mean.index
    )
    cells = texts.where(summary.fair, texts + "†").unstack(across).fillna(ABSENT)
    cells.index = cells.index.astype(str)

    values = mean.where(summary.whole[metric]).unstack(across)
    whole = values.notna()
    fair = summary.fair.unstack(across, fill_value=True)
    means, size = values.mean(), len(values)
    averages = pd.Series(
        shown.cells(means, means * np.nan, whole.sum(), [size] * len(means)), index=means.index
    )
    cells.loc[f"mean of {size}"] = averages.where(fair.all(), averages + "†")
    competing = np.vstack([whole & fair, whole.all() & fair.all()])
    best = np.array(
        [shown.best(*row) for row in zip(np.vstack([values, means]), competing, strict=True)]
    )
    if turned:
        cells, best = cells.T, best.T

    constant = [axis for axis in KEYS if axis == "category" or trials[axis].nunique() == 1]
    return Table(
        headers=[rows, *cells.columns.astype(str)],
        rows=cells.reset_index().astype(str).to_numpy().tolist(),
        labels=1,
        best=frozenset((int(i), int(j) + 1) for i, j in np.argwhere(best)),
        sections=frozenset() if turned else frozenset({size}),
        caption=f"{shown.header} · "
        + caption(
            trials,
            [shown],
            hidden=[axis for axis in constant if axis not in (rows, columns)],
            seeds=len(trials[list(REPEATS)].drop_duplicates()),
        ),
        notes=() if fair.to_numpy().all() else ("† looked at the test part: not compared",),
    )
