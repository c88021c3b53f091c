"""Tables with chosen axes in rows and columns, such as categories and methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.board import caption, repeats
from adbench_harness.leaderboard.columns import (
    ABSENT,
    AXES,
    KEYS,
    UNRANKED,
    Column,
    column,
)
from adbench_harness.leaderboard.frame import AXIS_NAMES, Summary, method, partial, summarise
from adbench_harness.leaderboard.printed import MEAN, footnotes, means_first, symbol
from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import Heading

PIVOTS = AXIS_NAMES
_AVERAGED = ("category", "dataset", "seed")


def grid(trials: pd.DataFrame, keys: Sequence[str]) -> Summary:
    """A summary by ``keys``, which are axes of ``PIVOTS`` or parameters.

    Raises UserError if a cell would average over more than one combination.
    """
    return _grid(_with_method(trials, keys), keys)


def _grid(trials: pd.DataFrame, keys: Sequence[str]) -> Summary:
    if len(set(keys)) < len(keys):
        raise UserError(f"rows and columns are both {keys[-1]!r}; choose two different axes")
    cells = trials.groupby(list(keys))
    for axis in AXES:
        if axis not in keys and cells[axis].nunique().gt(1).any():
            values = ", ".join(sorted(trials[axis].unique()))
            raise UserError(
                f"{' by '.join(keys)} would average over {axis} ({values}); make {axis} a row or "
                "column, use 'method', or select one value with --only"
            )
    return summarise(trials, keys)


def listing(
    trials: pd.DataFrame,
    keys: Sequence[str],
    metrics: Sequence[str],
    headings: Mapping[str, Heading],
) -> Table:
    """One row per combination of ``keys``, one column per metric; only measured numbers compete.

    Each data set is a section. If there are several and none is named, they get their own column.
    """
    trials = means_first(trials)
    if "dataset" not in keys and trials["dataset"].nunique() > 1:
        keys = ["dataset", *keys]
    trials = _with_method(trials, keys)
    summary = _grid(trials, keys)
    shown = [column(name, headings) for name in metrics]
    first = summary.mean[metrics[0]].where(summary.whole[metrics[0]])
    worth = _worth(first, shown[0]) if "method" in keys and {*keys} <= {"dataset", "method"} else {}
    order = sorted(summary.mean.index, key=_sorting(trials, keys, worth))
    index = pd.Index(order, name=keys[0]) if len(keys) == 1 else pd.MultiIndex.from_tuples(order)
    mean, spread, seen, whole = (
        part.loc[index] for part in (summary.mean, summary.spread, summary.seen, summary.whole)
    )
    total, fair = summary.total.loc[index], summary.fair.loc[index]
    competing = fair & ~trials.groupby(list(keys))["reported"].all().loc[index]
    footnotes = Footnotes(trials, metrics)
    tested_on = _datasets(trials, keys).loc[index].to_numpy()
    cells, best = [], []
    for name, one in zip(metrics, shown, strict=True):
        texts = one.cells(mean[name], spread[name], seen[name], total)
        signs = footnotes.of(trials, keys, name).loc[index]
        cells.append(
            [
                text + ("" if text == ABSENT else sign)
                for text, sign in zip(texts, signs, strict=True)
            ]
        )
        eligible = (whole[name] & competing).to_numpy()
        best.append(_best(one, mean[name].to_numpy(), eligible, tested_on))
    labels = [[*key] if len(keys) > 1 else [key] for key in order]
    return Table(
        headers=[*keys, *(one.header for one in shown)],
        rows=[
            [*map(str, label), *row]
            for label, row in zip(labels, zip(*cells, strict=True), strict=True)
        ],
        labels=len(keys),
        best=frozenset((int(i), int(j) + len(keys)) for j, i in np.argwhere(best)),
        sections=_starts([key[keys.index("dataset")] for key in labels])
        if "dataset" in keys
        else frozenset(),
        caption=_caption(trials, shown, keys),
        notes=[*partial(summary, metrics), *footnotes.notes],
    )


def pivot(
    trials: pd.DataFrame, rows: str, columns: str, metric: str, headings: Mapping[str, Heading]
) -> Table:
    """``metric`` by two axes; if one is averaged (such as category), with the means over it.

    A mean is over every place that anything compared has; what lacks one of them has no mean. The
    columns compete for the best number. If only the columns are averaged, the rows compete, and
    the mean is a column. Numbers that used the test images are marked with a dagger. They do not
    compete, and neither do printed numbers, whose mean is the printed one. Rows on several data
    sets are sections, with a column of the data sets.
    """
    turned = columns in _AVERAGED and rows not in _AVERAGED
    across, down = (rows, columns) if turned else (columns, rows)
    trials = trials[~trials["reported"] | trials[metric].notna()]
    trials = _with_method(trials, [rows, columns])
    everything, mean_rows = trials, trials["reported"] & trials["category"].eq(MEAN)
    trials, overall = trials[~mean_rows], trials[mean_rows]
    summary = _grid(trials, [rows, columns])
    shown = column(metric, headings)
    mean, seen = summary.mean[metric], summary.seen[metric]
    texts = shown.cells(mean, summary.spread[metric], seen, summary.total)
    footnotes = Footnotes(everything, [metric])
    signs = footnotes.of(trials, [rows, columns], metric).loc[mean.index]
    worth: dict[Any, float] = {}
    if "method" in (across, down):
        other = columns if rows == "method" else rows
        every = mean.where(summary.whole[metric]).unstack(other)
        homes = _homes(everything, "method")
        rivals = every.notna().groupby(lambda label: homes.get(label, "")).transform("any")
        worth = _worth(every.mean(axis=1).where((every.notna() | ~rivals).all(axis=1)), shown)
    names, places = (
        _ordered(some, axis, worth if axis == "method" else {})
        for axis, some in ((across, everything), (down, trials))
    )

    def laid_out(values: pd.Series[Any]) -> pd.DataFrame:
        return values.unstack(across).reindex(index=places, columns=names)

    cells = laid_out(signs.radd(texts).where(seen > 0, ABSENT)).astype(object).fillna(ABSENT)
    values = laid_out(mean.where(summary.whole[metric]))
    tested_on = laid_out(_datasets(trials, [rows, columns])).astype(object).fillna("")
    whole = values.notna()
    fair = laid_out(summary.fair.astype(float)).fillna(1).astype(bool)
    measured = ~everything.groupby(across)["reported"].all().loc[names]
    competing = whole & fair & measured
    averaged = values[whole.any(axis=1)]
    several = len(averaged) > 1
    if has_mean := down in _AVERAGED and (several or not overall.empty):
        label = f"mean of {len(averaged)}" if several else "mean (reported)"
        means = averaged.mean(skipna=False) if several else values.mean() * math.nan
        averages = [ABSENT if math.isnan(mean) else shown.show(mean) for mean in means]
        marks = footnotes.of(overall, [across], metric)
        printed = overall.set_index(across)[metric].astype(float)
        cells.loc[label] = [
            f"{shown.show(printed[name])}{marks[name]}"
            if name in marks.index
            else text
            if alright or text == ABSENT
            else f"{text}†"
            for name, text, alright in zip(names, averages, fair.all(), strict=True)
        ]
        values.loc[label] = means
        tested_on.loc[label] = [" ".join(sorted({*tested_on[name]} - {""})) for name in names]
        competing.loc[label] = means.notna() & fair.all() & measured
    best = np.array(
        [
            _best(shown, *line)
            for line in zip(
                values.to_numpy(), competing.to_numpy(), tested_on.to_numpy(), strict=True
            )
        ]
    )
    if turned:
        cells, best = cells.T, best.T
    homes = {} if "dataset" in (rows, columns) else _homes(everything, rows)
    labels = [
        [homes.get(label, ""), str(label).removeprefix(f"{homes.get(label)} · ")]
        if homes
        else [str(label)]
        for label in cells.index
    ]
    sections = _starts([dataset for dataset, _ in labels]) if homes else frozenset()
    if has_mean and not turned:
        sections |= {len(places)}
    return Table(
        headers=["dataset"] * bool(homes) + [rows, *map(str, cells.columns)],
        rows=[
            [*label, *row]
            for label, row in zip(labels, cells.itertuples(index=False, name=None), strict=True)
        ],
        labels=1 + bool(homes),
        best=frozenset((int(i), int(j) + 1 + bool(homes)) for i, j in np.argwhere(best)),
        sections=sections,
        caption=f"{shown.header} · {_caption(everything, [shown], [rows, columns])}",
        notes=[*partial(summary, [metric]), *footnotes.notes],
    )


def _homes(trials: pd.DataFrame, axis: str) -> dict[Any, str]:
    """The data set of each value of an axis, if there are several and each value has only one."""
    found = trials.groupby(axis)["dataset"].unique()
    if trials["dataset"].nunique() == 1 or found.map(len).gt(1).any():
        return {}
    return {value: str(names[0]) for value, names in found.items()}


def _ordered(trials: pd.DataFrame, axis: str, worth: Mapping[Any, float]) -> list[Any]:
    """The values of an axis, sorted; those of one data set are next to each other."""
    homes = _homes(trials, axis)
    first, then = _sorting(trials, ["dataset"], {}), _sorting(trials, [axis], worth)
    return sorted(
        trials[axis].unique(),
        key=lambda value: (first(homes[value]) if homes else [], then(value)),
    )


def _starts(datasets: Sequence[str]) -> frozenset[int]:
    """The rows at which another data set starts."""
    return frozenset(i for i in range(1, len(datasets)) if datasets[i] != datasets[i - 1])


def _datasets(trials: pd.DataFrame, keys: Sequence[str]) -> pd.Series[str]:
    """The data sets of each group; numbers on different ones do not compete."""
    groups = trials.groupby(list(keys))["dataset"]
    return groups.agg(lambda labels: " ".join(sorted({*labels})))


def _best(
    shown: Column,
    values: NDArray[np.float64],
    eligible: NDArray[np.bool_],
    datasets: NDArray[Any],
) -> NDArray[np.bool_]:
    """Which eligible values are the best of those on the same data set."""
    best = np.zeros(len(values), bool)
    for dataset in {*datasets[eligible]}:
        best |= shown.best(values, eligible & (datasets == dataset))
    return best


def _with_method(trials: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The trials with a column ``method``, whose labels leave out the table's other axis."""
    but = next((key for key in keys if key != "method"), "")
    return trials.assign(method=method(trials, but=but))


def _worth(means: pd.Series[float], shown: Column) -> dict[Any, float]:
    """A sort key by label: the lower, the better."""
    signed = -means if shown.higher_is_better else means
    return dict(zip(means.index, signed.fillna(math.inf), strict=True))


def _sorting(
    trials: pd.DataFrame, keys: Sequence[str], worth: Mapping[Any, float]
) -> Callable[[Any], Any]:
    """A sort key: the data set, then ``worth`` if given; then numbers by value.

    Labels that were only printed come last, in printed order.
    """
    positions = {
        value: position
        for key in keys
        for position, value in enumerate(trials.loc[trials["reported"], key].unique())
        if not (trials[key].eq(value) & ~trials["reported"]).any()
    }

    def one(key: str, value: Any, label: Any) -> tuple[Any, ...]:
        if value in positions:
            return (2, positions[value])
        best_first = worth.get(label, 0.0) if key == "method" else 0.0
        return (0, best_first, *natural(value))

    order = sorted(range(len(keys)), key=lambda i: keys[i] != "dataset")

    def whole(label: Any) -> list[tuple[Any, ...]]:
        parts = label if len(keys) > 1 else (label,)
        return [one(keys[i], parts[i], label) for i in order]

    return whole


def natural(value: Any) -> tuple[int, float, str]:
    """A sort key: numbers by value, before words."""
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, str(value))


class Footnotes:
    """Signs for numbers that must not be compared, and for the marks of printed numbers."""

    def __init__(self, trials: pd.DataFrame, metrics: Sequence[str]) -> None:
        found = footnotes(trials, metrics)
        self.signs = {mark: symbol(number) for number, mark in enumerate(found)}
        self.notes = [
            f"{self.signs[mark]} {mark.replace('-', ' ')}: {'; '.join(sources)}"
            for mark, sources in found.items()
        ]
        unfair = ~trials["flags"].map(UNRANKED.isdisjoint) & ~trials["reported"]
        if unfair.any():
            self.notes.insert(0, "† used the test images: not compared")

    def of(self, trials: pd.DataFrame, keys: Sequence[str], metric: str) -> pd.Series[str]:
        """The signs of each group of ``keys``."""
        signs = [
            "".join(sign for mark, sign in self.signs.items() if mark in marks.get(metric, ()))
            if reported
            else ""
            if UNRANKED.isdisjoint(flags)
            else "†"
            for flags, marks, reported in zip(
                trials["flags"], trials["marks"], trials["reported"], strict=True
            )
        ]
        groups = [trials[key] for key in keys]
        return pd.Series(signs, trials.index, dtype=str).groupby(groups).max()


def _caption(trials: pd.DataFrame, shown: Sequence[Column], keys: Sequence[str]) -> str:
    own = trials[~trials["reported"]]
    if own.empty:
        return "as reported" + (" · scores in %" if any(c.unit == "%" for c in shown) else "")
    constant = [axis for axis in KEYS if axis == "category" or own[axis].nunique() == 1]
    return caption(
        own,
        shown,
        hidden=[axis for axis in constant if axis not in keys],
        repeated=repeats(own),
    )
