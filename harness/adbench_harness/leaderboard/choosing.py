"""Which rows satisfy a production line's limits, and which of them to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.leaderboard import pareto
from adbench_harness.leaderboard.board import caption, repeats
from adbench_harness.leaderboard.columns import (
    ABSENT,
    AXES,
    KEYS,
    Column,
    column,
    headings,
    percent,
    primary,
)
from adbench_harness.leaderboard.frame import check_one_dataset, measured, method, select, summarise
from adbench_harness.leaderboard.labels import relabelled
from adbench_harness.leaderboard.notes import cost_notes
from adbench_harness.leaderboard.table import Table
from adbench_harness.leaderboard.ties import StoredImages, ties
from adbench_harness.results import threshold
from adbench_harness.results.store import Store
from adbench_harness.statistics import proportion

TIME, MEMORY = "ms_per_image", "peak_mb"


@dataclass(frozen=True)
class Limits:
    """What a row must satisfy; None: anything.

    ``recall`` is the least share of anomalous images that are found at the threshold that
    ``false_alarms`` of the held-out normal images exceed.
    """

    ms: float | None = None
    mb: float | None = None
    recall: float | None = None
    false_alarms: float = 0.01


class _Recall(NamedTuple):
    """The mean over categories, and the 95% interval of all anomalous images together.

    ``held_out`` is the smallest number of held-out normal images of a trial.
    """

    mean: float
    low: float
    high: float
    held_out: int


class _Row(NamedTuple):
    """A row of the board: its trials, its means by metric (nan: absent), and what it found."""

    title: str
    trials: pd.DataFrame
    means: Mapping[str, float]
    fair: bool
    whole: bool
    recall: _Recall | None

    def reasons(self, limits: Limits) -> list[str]:
        """Why the row is left out; empty if it satisfies everything."""
        if not self.fair:
            return ["its numbers used the test images"]
        if not self.whole:
            return ["it lacks a category"]
        found = []
        for name, most, unit in ((TIME, limits.ms, "ms"), (MEMORY, limits.mb, "MB")):
            value = self.means.get(name, math.nan)
            if most is not None and not value <= most:
                more = f"{value:.4g} {unit}, more than {most:g}"
                found.append(f"no {name} is stored" if math.isnan(value) else more)
        if limits.recall is not None:
            rate = f"{100 * limits.false_alarms:g}% false alarms"
            if self.recall is None:
                found.append("no recall, since it held out no normal images (--validation 0.2)")
            elif self.recall.mean < limits.recall:
                found.append(f"recall {percent(self.recall.mean)}% at {rate}")
        return found


def choose(store: Store, limits: Limits, *, metric: str | None, only: Mapping[str, str]) -> Table:
    """The rows that satisfy the ``limits``, best first.

    The notes say which of them are tied, and the remarks why each other row is left out. Raises
    UserError if the results are on several data sets.
    """
    results = list(store.read())
    known = headings(results)
    trials = select(results, (), only)
    check_one_dataset(trials)
    trials, parameters = relabelled(trials, results)
    trials = trials.assign(method=method(trials, but="dataset"))
    if not trials["status"].eq("ok").any():
        raise UserError(f"no result in '{store.root}' ran without an error; run the suite again")
    lead = metric or primary(measured(trials))
    measured(trials, [lead])
    names = [lead, *(name for name in (TIME, MEMORY) if name in trials and name != lead)]
    shown = [column(name, known) for name in names]
    sign = 1 if shown[0].higher_is_better else -1

    def images(index: int) -> Mapping[str, NDArray[Any]]:
        return store.scored(results[index].trial)

    rows = _rows(trials, names, images, limits)
    rows.sort(key=lambda row: (math.isnan(row.means[lead]), -sign * row.means[lead]))
    judged = [(row, row.reasons(limits)) for row in rows]
    kept = [row for row, reasons in judged if not reasons]
    axes = np.array([[row.means[name] for name in names] for row in kept]).reshape(-1, len(names))
    best = pareto.front(sign * axes[:, 0], *axes[:, 1:].T)
    recalled = [row.recall for row in kept if row.recall]
    return Table(
        headers=[
            *("method", *(one.header for one in shown)),
            *[f"recall at {100 * limits.false_alarms:g}%"] * bool(recalled),
            "Pareto",
        ],
        rows=[
            [
                *(
                    row.title,
                    *(one.show(row.means[n]) for one, n in zip(shown, names, strict=True)),
                ),
                *[_cell(row.recall)] * bool(recalled),
                "yes" if first else "",
            ]
            for row, first in zip(kept, best, strict=True)
        ],
        labels=1,
        caption=caption(
            trials,
            shown,
            hidden=[a for a in KEYS if a in ("dataset", "category") or trials[a].nunique() == 1],
            repeated=repeats(trials[trials["status"].eq("ok")]),
        ),
        notes=[
            *_tied(kept, lead, shown[0], images),
            *_uncertain(kept, limits),
            *parameters,
            *cost_notes(trials, results),
        ],
        remarks=[
            f"left out: {row.title}: {', '.join(reasons)}" for row, reasons in judged if reasons
        ],
    )


def _rows(
    trials: pd.DataFrame, names: Sequence[str], images: StoredImages, limits: Limits
) -> list[_Row]:
    ran = trials[trials["status"].eq("ok")]
    summary = summarise(trials, AXES)
    titles = trials.groupby(list(AXES))["method"].first()
    members = ran.groupby(list(AXES)).indices
    means = summary.mean[list(names)].to_numpy(float)
    whole, fair = summary.whole[names[0]].to_numpy(bool), summary.fair.to_numpy(bool)
    found = []
    for number, key in enumerate(summary.mean.index):
        own = ran.iloc[members.get(key, [])]
        found.append(
            _Row(
                str(titles.iloc[number]),
                own,
                dict(zip(names, means[number].tolist(), strict=True)),
                bool(fair[number]),
                bool(whole[number]),
                _recall(own, images, limits),
            )
        )
    return found


def _recall(trials: pd.DataFrame, images: StoredImages, limits: Limits) -> _Recall | None:
    """The recall at the rate of false alarms; None if a trial lacks what it needs."""
    shares: list[float] = []
    counts: list[int] = []
    fewest: list[int] = []
    for index in trials.index:
        stored = images(int(str(index)))
        held_out, scores = stored.get("validation"), stored.get("score")
        if held_out is None or scores is None:
            return None
        share, count = threshold.recall(scores, stored["label"], held_out, limits.false_alarms)
        if not count:
            return None
        shares.append(share)
        counts.append(count)
        fewest.append(len(held_out))
    if not shares:
        return None
    table = pd.DataFrame({"share": shares, "count": counts})
    groups = table.groupby(trials["category"].to_numpy())
    mean = float(groups["share"].mean().mean())
    low, high = proportion.interval(mean, int(groups["count"].first().sum()))
    return _Recall(mean, low, high, min(fewest))


def _cell(recall: _Recall | None) -> str:
    if recall is None:
        return ABSENT
    return f"{percent(recall.mean)} ({percent(recall.low)}–{percent(recall.high)})"


def _tied(kept: Sequence[_Row], lead: str, shown: Column, images: StoredImages) -> list[str]:
    """A sentence on which rows differ."""
    told = ties([row.trials for row in kept], [row.title for row in kept], lead, shown, images)
    return [told.sentence] if told.sentence else []


def _uncertain(kept: Sequence[_Row], limits: Limits) -> Iterator[str]:
    """What a reader should know of the recalls."""
    recalls = [(row.title, row.recall) for row in kept if row.recall]
    fewest = min((one.held_out for _, one in recalls), default=0)
    if recalls and fewest * limits.false_alarms < 1:
        yield (
            f"recall: {fewest} held-out normal images cannot show a rate of "
            f"{100 * limits.false_alarms:g}%, so the threshold is the highest of their scores"
        )
    for title, one in recalls:
        if limits.recall is not None and one.low < limits.recall:
            yield (
                f"recall of {title}: its 95% interval reaches below {percent(limits.recall)}%; "
                "more anomalous test images would tell"
            )
