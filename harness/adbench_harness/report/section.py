"""A data set's part of the board: its rows, columns, tests and numbers by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adbench_harness.leaderboard.board import INTERVAL, board
from adbench_harness.leaderboard.columns import ABSENT, AXES, Column, column, primary
from adbench_harness.leaderboard.frame import measured, method, summarise
from adbench_harness.leaderboard.notes import cost_notes, image_notes, without_best_memory
from adbench_harness.leaderboard.table import Table
from adbench_harness.report import groups
from adbench_harness.report.differences import Candidate, Differences, differences
from adbench_harness.report.folder import named
from adbench_harness.report.places import Places
from adbench_harness.report.tradeoff import Point, tradeoff
from adbench_harness.results.store import Heading, Store, TrialResult
from adbench_harness.results.trial import NONE
from adbench_harness.types import Reported

_WORST = 1e300
"""Sorts missing values last, in both directions."""


@dataclass(frozen=True)
class Cell:
    """A number as a table shows it, whether it is the best, and its sort key."""

    text: str
    best: bool = False
    order: float | None = None


@dataclass(frozen=True)
class Head:
    """A column's header, its groups, and whether a higher number is better (None: no number).

    A column without groups is always shown.
    """

    text: str
    groups: Sequence[str] = ()
    higher: bool | None = None


@dataclass(frozen=True)
class Row:
    """A combination on the board; ``page`` is where its trials are, relative to the root.

    ``images`` are notes on its images.
    """

    label: str
    rank: str
    page: str
    axes: Mapping[str, str]
    cells: Sequence[Cell]
    flags: Sequence[str]
    images: Sequence[str]
    trials: pd.DataFrame


@dataclass(frozen=True)
class Section:
    """A data set's part of the board; ``flags`` are those that all its rows have.

    ``metric`` is the title of the metric that ranks and ``axis`` its column, None if nothing does.
    ``groups`` are titles of groups of columns by name. ``tradeoff`` is the data of the plot of
    accuracy against cost. ``images`` are notes on the images of all rows.
    """

    dataset: str
    caption: str
    notes: Sequence[str]
    images: Sequence[str]
    flags: Sequence[str]
    heads: Sequence[Head]
    groups: Mapping[str, str]
    rows: Sequence[Row]
    filters: Mapping[str, Sequence[str]]
    metric: str | None
    axis: Column | None
    tradeoff: Mapping[str, Any] | None
    differences: Differences | None
    tables: Sequence[tuple[str, Table]]
    printed: bool


class Sections:
    """Makes sections of stored results; ``reported`` are the papers' numbers."""

    def __init__(
        self,
        store: Store,
        results: Sequence[TrialResult],
        headings: Mapping[str, Heading],
        reported: Sequence[Reported],
    ) -> None:
        self._store = store
        self._results = results
        self._headings = headings
        self._reported = reported

    def of(self, dataset: str, trials: pd.DataFrame, metric: str | None) -> Section:
        """The section of a data set's ``trials``, ranked by ``metric`` if they have it."""
        trials = trials.assign(method=method(trials))
        columns = {name: self._column(name) for name in measured(trials)}
        lead = groups.lead(list(columns.items()), metric)
        first = primary(list(columns))
        table = board(trials, lead, self._headings, per_category=False, images=self._images)
        memory = column("peak_mb", self._headings).header
        table = without_best_memory(table, trials, self._results, memory)
        summary = summarise(trials, AXES)
        groups_of = trials.groupby(list(AXES))
        heads, at = _heads(table, columns, lead)
        rows, keys = [], []
        shared = set.intersection(*map(set, trials["flags"]))
        for line, texts in enumerate(table.rows):
            told = dict(zip(table.headers, texts, strict=True))
            key = tuple(told.get(axis, str(trials[axis].iloc[0])) for axis in AXES)
            own = groups_of.get_group(key)
            label = own["method"].iloc[0]
            cells = [
                Cell(texts[j], (line, j) in table.best, self._order(name, summary.mean, key))
                for j, name in at
            ]
            flags = sorted({flag for row in own["flags"] for flag in row} - shared)
            page = f"rows/{named(label, *key)}.html"
            axes = dict(zip(AXES, key, strict=True))
            rank = told["#"] if lead else ABSENT
            images = list(image_notes(own, self._results))
            rows.append(Row(label, rank, page, axes, cells, flags, images, own))
            keys.append(key)
        if lead is None:
            by_name = sorted(range(len(rows)), key=lambda i: rows[i].label)
            rows, keys = [rows[i] for i in by_name], [keys[i] for i in by_name]
        points = [
            Point(row.label, row.page, row.rank, row.axes["model"].partition("(")[0], key)
            for row, key in zip(rows, keys, strict=True)
        ]
        names = {self._results[index].trial.dataset.name for index in trials.index}
        reported = [row for row in self._reported if row.dataset in names]
        places = Places(trials, reported, columns, self._headings)
        return Section(
            dataset=dataset,
            caption=table.caption,
            # Of the board's notes, the one on the metric that would have ranked is left out.
            notes=[
                *(note for note in table.notes if lead or columns[first].title not in note),
                *cost_notes(trials, self._results),
            ],
            images=list(image_notes(trials, self._results)),
            flags=sorted(shared),
            heads=heads,
            groups=groups.present(name for head in heads for name in head.groups),
            rows=rows,
            filters={
                axis: sorted(trials[axis].unique())
                for axis in AXES
                if axis != "dataset" and trials[axis].nunique() > 1
            },
            metric=columns[lead].title if lead else None,
            axis=columns[lead] if lead else None,
            tradeoff=tradeoff(points, summary, columns, lead) if lead else None,
            differences=self._differences(rows, keys, summary, lead) if lead else None,
            tables=list(places.tables(lead)),
            printed=places.printed,
        )

    def _column(self, metric: str) -> Column:
        return column(metric, self._headings)

    def _images(self, index: int) -> Mapping[str, Any]:
        return self._store.images(self._results[index].trial)

    def _order(self, name: str | None, means: pd.DataFrame, key: tuple[str, ...]) -> float | None:
        if name is None:
            return None
        value = float(means.loc[key, name])  # type: ignore[arg-type]  # a number, by its column
        worst = -_WORST if self._column(name).higher_is_better else _WORST
        return worst if np.isnan(value) else value

    def _differences(
        self, rows: Sequence[Row], keys: Sequence[tuple[str, ...]], summary: Any, lead: str
    ) -> Differences:
        varying = [axis for axis in AXES[1:] if len({row.axes[axis] for row in rows}) > 1]
        varying = varying or ["model"]
        candidates = [
            Candidate(
                row.label,
                " · ".join(row.axes[axis] for axis in varying if row.axes[axis] != NONE),
                row.page,
                row.trials[row.trials["status"].eq("ok")],
                row.rank != ABSENT and bool(summary.whole.loc[key, lead] and summary.fair.loc[key]),
            )
            for row, key in zip(rows, keys, strict=True)
        ]
        return differences(candidates, lead, self._column(lead), self._images)


def _heads(
    table: Table, columns: Mapping[str, Column], lead: str | None
) -> tuple[list[Head], list[tuple[int, str | None]]]:
    """The columns beside rank and method, and where each is in the table, by its metric."""
    by_header = {shown.header: name for name, shown in columns.items()}
    heads: list[Head] = []
    at: list[tuple[int, str | None]] = []
    for j, header in enumerate(table.headers):
        name = by_header.get(header)
        if header in ("#", *AXES):
            continue
        if name is not None:
            shown = columns[name]
            heads.append(Head(header, groups.groups(name, shown, lead), shown.higher_is_better))
        elif j >= table.labels:  # the interval, which goes with its metric
            heads.append(Head(header, groups.groups(INTERVAL, columns[INTERVAL], lead)))
        else:
            heads.append(Head(header))
        at.append((j, name))
    # A reader looks for the numbers first; seeds and failures follow them.
    order = sorted(range(len(at)), key=lambda i: at[i][0] < table.labels)
    return [heads[i] for i in order], [at[i] for i in order]
