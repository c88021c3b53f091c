"""Results as ranked rows and as a table for the terminal, Markdown, HTML, LaTeX or CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.board import INTERVAL_HEADER, board, merged
from adbench_harness.leaderboard.columns import (
    COSTS,
    KEYS,
    MEASURED,
    column,
    flag_text,
    headings,
    main,
    primary,
)
from adbench_harness.leaderboard.frame import aggregate, check_axes, frame, measured, select
from adbench_harness.leaderboard.labels import relabelled, renamed
from adbench_harness.leaderboard.notes import cost_notes, image_notes, without_best_memory
from adbench_harness.leaderboard.pivot import PIVOTS, grid, listing, pivot
from adbench_harness.leaderboard.printed import beside
from adbench_harness.leaderboard.spreadsheet import csv
from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.results.trial import Trial

if TYPE_CHECKING:
    from adbench_harness.types import Reported

__all__ = ["FORMATS", "PIVOTS", "Format", "aggregate", "frame", "render"]

Format = Literal["terminal", "markdown", "html", "latex", "csv"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "html", "latex", "csv")


def render(
    results: Iterable[TrialResult],
    *,
    format: Format = "terminal",  # noqa: A002  # as the flag is called
    rows: Sequence[str] = (),
    columns: str | None = None,
    metrics: Sequence[str] = (),
    asked: Sequence[str] = (),
    all: bool = False,  # noqa: A002  # as the flag is called
    only: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    reported: Iterable[Reported] = (),
    per_category: bool = False,
    store: Path | None = None,
    width: int = 80,
    color: bool = False,
) -> str:
    """The leaderboard of ``results`` as text.

    ``metrics`` are the columns, and the first one ranks. If none are named, the table shows those
    that most readers need and those that the run was ``asked`` for, or, with ``all``, everything
    that was measured. ``rows`` or ``columns`` (axes of ``PIVOTS``, or parameters, which are then
    left out of the labels) makes a table of one metric; if only one of them is given, the other
    axis is the method, or the category. ``rows`` with several metrics makes one column per metric.

    ``only`` keeps the trials (and printed numbers) whose axes have these values. ``labels`` has
    display names of components, or of whole labels. ``reported`` adds printed numbers as rows or
    columns. CSV contains fractions: one row per combination and category, or the table's cells.

    ``store`` is the folder of the results: notes name its files for tracebacks, and the tests of
    differences read its per-image scores. ``width`` and ``color`` apply to the terminal. Raises
    UserError if there are no results, or none with the metric.
    """
    results = list(results)
    known = headings(results)
    only, labels = only or {}, labels or {}
    reported = [r for r in reported if _kept(r, only)]
    if reported and not (rows or columns):
        raise UserError("reported numbers need --rows or --columns, such as --rows method")
    check_axes(results, {"--rows": rows, "--columns": [columns] if columns else []})
    _check_columns(rows, columns, metrics, all=all)
    axes = [*rows, *([columns] if columns else ())]
    trials = select(results, axes, only, empty=bool(reported))
    but = [axis for axis in (*axes, *only) if axis not in PIVOTS]
    parameters: list[str] = []
    if format != "csv":
        trials, parameters = relabelled(trials, results, but=but, names=labels)
    failures = list(_failures(trials, results, store or Path()))
    images, costs = list(image_notes(trials, results)), list(cost_notes(trials, results))
    alone = trials
    if reported:
        reported, left_out = _comparable(reported, trials, axes)
        trials, short = beside(trials, reported)
        failures += [*left_out, *short]
    own = trials[~trials["reported"]]
    facts = [*parameters, *images, *_flags(own), *_versions(own)]
    remarks = [*_hidden(own), *failures]
    names = list(metrics) or measured(trials)
    measured(trials, metrics)
    chosen = names if metrics or all else main(names, asked)
    if len(rows) > 1 or (rows and (len(metrics) > 1 or all)):
        if format == "csv":
            cells = grid(trials, rows)
            wanted = list(metrics) or names
            return csv(cells.mean[wanted].where(cells.whole[wanted]))
        table = listing(trials, rows, chosen, known)
        table = table if metrics or all else _abridged(table, chosen, asked, len(names))
    elif rows or columns:
        down = rows[0] if rows else _opposite(columns)
        across = columns or _opposite(down)
        metric = metrics[0] if metrics else primary(names)
        if format == "csv":
            cells = grid(trials, [down, across])
            return csv(cells.mean[metric].where(cells.whole[metric]).unstack(across))
        table, chosen = pivot(trials, down, across, metric, known), [metric]
    elif format == "csv":
        return _csv(trials, metrics)
    else:
        kept = Store(store or Path())
        table = board(
            trials,
            metrics[0] if metrics else None,
            known,
            per_category=per_category,
            images=lambda index: kept.images(results[index].trial),
            metrics=chosen,
            keep=["model"]
            if {results[i].trial.model.name for i in trials.index} & set(labels)
            else [],
        )
        table = merged(table)
        table = table if metrics or all else _abridged(table, chosen, asked, len(names))
    facts += costs if MEASURED.intersection(chosen) else []
    memory = None if chosen == ["peak_mb"] else column("peak_mb", known).header
    table = without_best_memory(table, alone, results, memory)
    table = replace(table, notes=(*table.notes, *facts), remarks=remarks)
    table = renamed(table, labels)
    if format == "terminal":
        return table.terminal(width, color)
    writers = {"markdown": table.markdown, "html": table.html, "latex": table.latex}
    return writers[format]()


def _check_columns(
    rows: Sequence[str],
    columns: str | None,
    metrics: Sequence[str],
    *,
    all: bool,  # noqa: A002
) -> None:
    """Raise UserError if the cells of a table with ``columns`` would have several numbers."""
    if not columns:
        return
    wrong = ""
    if len(rows) > 1:
        wrong = f"one axis in --rows, which names {len(rows)} ({', '.join(rows)})"
    elif len(metrics) > 1:
        wrong = f"one metric in --metric, which names {len(metrics)} ({', '.join(metrics)})"
    elif all:
        wrong = "one metric, so it does not go with --all"
    if wrong:
        raise UserError(f"--columns {columns} needs {wrong}")


def _kept(row: Reported, only: Mapping[str, str]) -> bool:
    return all(getattr(row, axis, value) == value for axis, value in only.items())


def _comparable(
    reported: Sequence[Reported], trials: pd.DataFrame, axes: Sequence[str]
) -> tuple[list[Reported], list[str]]:
    """The printed numbers of the data sets that the trials have, and a line about the others.

    All are kept if data sets are an axis of the table, or if there are only printed numbers.
    """
    datasets = {re.split(r"[(\[ ]", label)[0] for label in trials["dataset"]}
    if trials.empty or "dataset" in axes:
        return list(reported), []
    absent: dict[str, dict[str, None]] = {}
    for row in reported:
        if row.dataset not in datasets:
            absent.setdefault(row.method, {})[row.dataset] = None
    lines = [
        f"left out: the numbers of {method} on {', '.join(names)}, since no result here is on "
        f"{'it' if len(names) == 1 else 'them'}"
        for method, names in absent.items()
    ]
    return [row for row in reported if row.dataset in datasets], lines


def _abridged(table: Table, metrics: Sequence[str], asked: Sequence[str], measured: int) -> Table:
    """A table of the main ``metrics``, which says how many of those ``measured`` it leaves out.

    If there is little room, it also leaves out the interval, then costs, then other scores, but
    nothing that the run was ``asked`` for.
    """
    numbers = range(table.labels, len(table.headers))
    interval = [j for j in numbers if table.headers[j] == INTERVAL_HEADER]
    scores = [j for j in numbers if j not in interval]
    free = [(name, j) for name, j in zip(metrics, scores, strict=True) if name not in asked]
    costs = [j for name, j in free if name in COSTS]
    others = [j for _, j in free if j not in costs and j != scores[0]]
    optional = [*interval, *reversed(costs), *reversed(others)]
    return replace(table, optional=optional, more=measured - len(metrics))


def _csv(trials: pd.DataFrame, metrics: Sequence[str]) -> str:
    """One row per combination and category, with all metrics or those named."""
    cells = aggregate(trials)
    if metrics:
        wanted = {*KEYS, "seeds", "failed", *metrics, *(f"{name}_std" for name in metrics)}
        cells = cells[[name for name in cells if name in wanted]]
    return csv(cells, index=False)


def _opposite(axis: str | None) -> str:
    return "category" if axis == "method" else "method"


def _flags(trials: pd.DataFrame) -> Iterator[str]:
    """Each flag, with the rows that have it unless all have it, or their labels say so.

    A model of several rows that all have it is named instead of them.
    """
    ran = trials[trials["status"].eq("ok")]
    for flag, bearers in ran.explode("flags").groupby("flags"):
        some = len(bearers) < len(ran)
        text = flag_text(str(flag))
        if some and bearers["dataset"].str.contains(text, regex=False).all():
            continue
        models = ran.groupby("model")
        whole = bearers.groupby("model").size().eq(models.size()) & models["method"].nunique().gt(1)
        names = bearers["model"].where(bearers["model"].map(whole), bearers["method"]).unique()
        yield f"{text}: {', '.join(sorted(names))}" if some else text


def _hidden(trials: pd.DataFrame) -> Iterator[str]:
    """How many results the table does not show because newer ones have the same labels."""
    if count := int(trials["hides"].sum()):
        yield (
            f"{count} older result{'s are' if count > 1 else ' is'} not shown: a newer one has the "
            "same labels, but other metrics or other code"
        )


def _versions(trials: pd.DataFrame) -> Iterator[str]:
    """A line that says so if the images of a data set differ between its sections."""
    if trials["dataset"].str.contains(r"\bimages [0-9a-f]{8}\b").any():
        yield (
            "one data set was run on different images; each set of images is named by its "
            "fingerprint and ranked for itself"
        )


def _failures(trials: pd.DataFrame, results: Sequence[TrialResult], store: Path) -> Iterator[str]:
    """Each distinct failure once, with its categories and the file that contains its traceback."""
    found: dict[tuple[str, str, str], list[Trial]] = {}
    for label, index in zip(trials["method"], trials.index, strict=True):
        for failure in results[index].failures:
            found.setdefault((label, failure.stage, failure.message), []).append(
                results[index].trial
            )
    for (label, stage, message), failed in sorted(found.items(), key=itemgetter(0)):
        categories = ", ".join(sorted({trial.category for trial in failed}))
        path = store / "trials" / f"{failed[0].id}.json"
        yield f"failed: {label} [{categories}]: {stage}: {message} (traceback: {path})"
