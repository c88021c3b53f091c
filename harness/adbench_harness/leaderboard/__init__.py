"""Results as ranked rows and as a table for the terminal, Markdown, HTML, LaTeX or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.board import board
from adbench_harness.leaderboard.columns import headings, primary
from adbench_harness.leaderboard.frame import aggregate, frame, measured, method, select
from adbench_harness.leaderboard.pivot import PIVOTS, grid, listing, pivot
from adbench_harness.leaderboard.printed import beside
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
    only: Mapping[str, str] | None = None,
    reported: Iterable[Reported] = (),
    per_category: bool = False,
    store: Path | None = None,
    width: int = 100,
    color: bool = False,
) -> str:
    """The leaderboard of ``results`` as text.

    ``rows`` or ``columns`` (axes of ``PIVOTS``, or parameters, which are then left out of the
    labels) makes a table of one metric; if only one of them is given, the other axis is the method,
    or the category. ``rows`` with several ``metrics`` makes one column per metric. Without both,
    the first metric ranks the board. ``only`` keeps the trials (and printed numbers) whose axes
    have these values. ``reported`` adds printed numbers as rows or columns. CSV contains fractions:
    one row per combination and category, or the table's cells.

    ``store`` is the folder of the results: notes name its files for tracebacks, and the tests of
    differences read its per-image scores. ``width`` and ``color`` apply to the terminal. Raises
    UserError if there are no results, or none with the metric.
    """
    results = list(results)
    known = headings(results)
    only = only or {}
    reported = [r for r in reported if all(getattr(r, a, v) == v for a, v in only.items())]
    if reported and not (rows or columns):
        raise UserError("reported numbers need --rows or --columns, such as --rows method")
    axes = [*rows, *([columns] if columns else ())]
    trials = select(results, axes, only, empty=bool(reported))
    notes = [*_notes(trials, results), *_failures(trials, results, store or Path())]
    if reported:
        trials, left_out = beside(trials, reported)
        notes += left_out
    notes = [*_flags(trials[~trials["reported"]]), *notes]
    names = measured(trials, metrics)
    if len(rows) > 1 or len(metrics) > 1:
        if columns:
            raise UserError("--columns works only with one axis in --rows and one metric")
        chosen = metrics or names
        if format == "csv":
            cells = grid(trials, rows)
            return cells.mean[chosen].where(cells.whole[chosen]).to_csv()
        table = listing(trials, rows or ["method"], chosen, known)
    elif rows or columns:
        down = rows[0] if rows else _opposite(columns)
        across = columns or _opposite(down)
        metric = metrics[0] if metrics else primary(names)
        if format == "csv":
            cells = grid(trials, [down, across])
            return cells.mean[metric].where(cells.whole[metric]).unstack(across).to_csv()
        table = pivot(trials, down, across, metric, known)
    elif format == "csv":
        return aggregate(trials).to_csv(index=False)
    else:
        kept = Store(store or Path())
        table = board(
            trials,
            metrics[0] if metrics else None,
            known,
            per_category=per_category,
            images=lambda index: kept.images(results[index].trial),
        )
    table = replace(table, notes=(*table.notes, *notes))
    if format == "terminal":
        return table.terminal(width, color)
    writers = {"markdown": table.markdown, "html": table.html, "latex": table.latex}
    return writers[format]()


def _opposite(axis: str | None) -> str:
    return "category" if axis == "method" else "method"


def _flags(trials: pd.DataFrame) -> Iterator[str]:
    """Each flag, with the methods that have it unless all have it."""
    ran = trials.assign(method=method(trials))[trials["status"].eq("ok")]
    for flag, bearers in ran.explode("flags").groupby("flags"):
        some = len(bearers) < len(ran)
        yield f"{flag}: {', '.join(sorted(bearers['method'].unique()))}" if some else str(flag)


def _notes(trials: pd.DataFrame, results: Sequence[TrialResult]) -> Iterator[str]:
    """What a reader should know of the images, each once."""
    said = {
        f"{label}/{results[index].trial.category}: {note}"
        for label, index in zip(trials["dataset"], trials.index, strict=True)
        for note in results[index].provenance.get("notes", ())
    }
    yield from sorted(said)


def _failures(trials: pd.DataFrame, results: Sequence[TrialResult], store: Path) -> Iterator[str]:
    """Each distinct failure once, with its categories and the file that contains its traceback."""
    found: dict[tuple[str, str, str], list[Trial]] = {}
    for label, index in zip(method(trials), trials.index, strict=True):
        for failure in results[index].failures:
            found.setdefault((label, failure.stage, failure.message), []).append(
                results[index].trial
            )
    for (label, stage, message), failed in sorted(found.items(), key=itemgetter(0)):
        categories = ", ".join(sorted({trial.category for trial in failed}))
        path = store / "trials" / f"{failed[0].id}.json"
        yield f"failed: {label} [{categories}]: {stage}: {message} (traceback: {path})"
