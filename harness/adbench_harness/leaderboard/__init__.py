"""Results -> ranked rows -> a table for the terminal, Markdown, HTML, LaTeX or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Literal

import pandas as pd

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.board import board
from adbench_harness.leaderboard.columns import primary
from adbench_harness.leaderboard.frame import aggregate, frame, measured, method
from adbench_harness.leaderboard.pivot import PIVOTS, grid, pivot
from adbench_harness.results import TrialResult
from adbench_harness.trial import Trial

__all__ = ["FORMATS", "PIVOTS", "Format", "aggregate", "frame", "render"]

Format = Literal["terminal", "markdown", "html", "latex", "csv"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "html", "latex", "csv")


def render(
    results: Iterable[TrialResult],
    *,
    format: Format = "terminal",  # noqa: A002  # the word of the command line
    rows: str | None = None,
    columns: str | None = None,
    metric: str | None = None,
    per_category: bool = False,
    store: Path | None = None,
    width: int = 100,
    color: bool = False,
) -> str:
    """The leaderboard of ``results`` as text.

    ``rows`` or ``columns`` (of ``PIVOTS``) asks for a pivot of ``metric``, the other one being
    the methods, or the categories. Otherwise ``metric`` ranks the board. CSV holds fractions: a
    row a combination and category, or the pivot's cells. ``store`` is the folder whose tracebacks
    the notes point at; ``width`` and ``color`` are the terminal's. Raises UserError where there
    are no results, or none with ``metric``.
    """
    results = list(results)
    if not results:
        raise UserError("no results to show: run a suite first, or name another folder")
    directions = {name: False for result in results for name in result.lower_is_better}
    trials = frame(results)
    names = measured(trials, metric)
    if rows or columns:
        rows = rows or _opposite(columns)
        columns = columns or _opposite(rows)
        metric = metric or primary(names)
        if format == "csv":
            cells = grid(trials, rows, columns)
            return cells.mean[metric].where(cells.whole[metric]).unstack(columns).to_csv()
        table = pivot(trials, rows, columns, metric, directions)
    elif format == "csv":
        return aggregate(trials).to_csv(index=False)
    else:
        table = board(trials, metric, directions, per_category=per_category)
    failures = _failures(trials, results, store or Path())
    table = replace(table, notes=(*table.notes, *_flags(trials), *failures))
    if format == "terminal":
        return table.terminal(width, color)
    writers = {"markdown": table.markdown, "html": table.html, "latex": table.latex}
    return writers[format]()


def _opposite(axis: str | None) -> str:
    return "category" if axis == "method" else "method"


def _flags(trials: pd.DataFrame) -> Iterator[str]:
    """Each flag, with the methods that bear it where not all do."""
    ran = trials.assign(method=method(trials))[trials["status"].eq("ok")]
    for flag, bearers in ran.explode("flags").groupby("flags"):
        some = len(bearers) < len(ran)
        yield f"{flag}: {', '.join(sorted(bearers['method'].unique()))}" if some else str(flag)


def _failures(trials: pd.DataFrame, results: Sequence[TrialResult], store: Path) -> Iterator[str]:
    """Each distinct failure once, with its categories and the file that holds its traceback."""
    found: dict[tuple[str, str, str], list[Trial]] = {}
    for label, place in zip(method(trials), trials.index, strict=True):
        for failure in results[place].failures:
            found.setdefault((label, failure.stage, failure.message), []).append(
                results[place].trial
            )
    for (label, stage, message), failed in sorted(found.items(), key=itemgetter(0)):
        categories = ", ".join(sorted({trial.category for trial in failed}))
        path = store / "trials" / f"{failed[0].id}.json"
        yield f"failed: {label} [{categories}]: {stage}: {message} (traceback: {path})"
