"""Results -> ranked rows -> a table for the terminal, Markdown, HTML, LaTeX or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from adbench_harness.results import Store, TrialResult
from adbench_harness.trial import Trial

__all__ = ["FORMATS", "PIVOTS", "Format", "aggregate", "frame", "render"]

Format = Literal["terminal", "markdown", "html", "latex", "csv"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "html", "latex", "csv")


def render(
    results: Store | Iterable[TrialResult],
    *,
    format: Format = "terminal",
    rows: str | None = None,
    columns: str | None = None,
    metric: str | None = None,
    per_category: bool = False,
    directions: Mapping[str, bool] | None = None,
    width: int = 100,
    color: bool = False,
) -> str:
    """The leaderboard of ``results`` as text.

    ``rows`` or ``columns`` (of ``PIVOTS``) asks for a pivot of ``metric``, the other one being
    the methods, or the categories. Otherwise ``metric`` ranks the board. CSV holds fractions: a
    row a combination and category, or the pivot's cells. ``directions`` says of plugins' metrics
    whether higher is better. ``width`` and ``color`` are the terminal's. Raises UserError where
    there are no results, or none with ``metric``.
    """
    folder = results.root if isinstance(results, Store) else None
    results = list(results.read() if isinstance(results, Store) else results)
    if not results:
        where = f" in {folder}" if folder else ""
        raise UserError(f"no results{where}: run a suite first, or select less narrowly")
    trials = frame(results)
    names = measured(trials, metric)
    if rows or columns:
        rows = rows or _opposite(columns)
        columns = columns or _opposite(rows)
        metric = metric or primary(names)
        if format == "csv":
            cells = grid(trials, rows, columns)
            return cells.mean[metric].where(cells.whole[metric]).unstack(columns).to_csv()
        table = pivot(trials, rows, columns, metric, directions or {})
    elif format == "csv":
        return aggregate(trials).to_csv(index=False)
    else:
        table = board(trials, metric, directions or {}, per_category=per_category)
    table = replace(table, notes=(*table.notes, *_failures(trials, results, folder)))
    if format == "terminal":
        return table.terminal(width, color)
    writers = {"markdown": table.markdown, "html": table.html, "latex": table.latex}
    return writers[format]()


def _opposite(axis: str | None) -> str:
    return "category" if axis == "method" else "method"


def _failures(
    trials: pd.DataFrame, results: Iterable[TrialResult], folder: Path | None
) -> Iterator[str]:
    """Each distinct failure once, with its categories and the file that holds its traceback."""
    found: dict[tuple[str, str, str], list[Trial]] = {}
    for label, result in zip(method(trials), results, strict=True):
        for failure in result.failures:
            line = next(iter(failure.message.strip().splitlines()), "no message")
            found.setdefault((label, failure.stage, line), []).append(result.trial)
    for (label, stage, line), failed in sorted(found.items(), key=itemgetter(0)):
        categories = ", ".join(sorted({trial.category for trial in failed}))
        path = (folder or Path()) / "trials" / f"{failed[0].id}.json"
        yield f"failed: {label} [{categories}]: {stage}: {line} (traceback: {path})"
