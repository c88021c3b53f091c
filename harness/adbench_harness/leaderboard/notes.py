"""What a reader of a table should know of the images and the runs behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import TrialResult

_MEASURED = {
    "processor": "on different processors",
    "threads": "with different numbers of threads",
    "run": "in different runs",
    "engine": "by different engines",
}
"""What the provenance of a result has, by name, and what it means if it differs between rows."""


def image_notes(trials: pd.DataFrame, results: Sequence[TrialResult]) -> Iterator[str]:
    """Each note of the trials' results once, with its categories."""
    said: dict[str, dict[str, None]] = {}
    for label, index in zip(trials["dataset"], trials.index, strict=True):
        result = results[index]
        for note in result.provenance.get("notes", ()):
            said.setdefault(note, {})[f"{label}/{result.trial.category}"] = None
    for note, places in sorted(said.items()):
        yield f"{', '.join(sorted(places))}: {note}"


def cost_notes(trials: pd.DataFrame, results: Sequence[TrialResult]) -> Iterator[str]:
    """A line that says so if the costs of a data set's rows were not measured side by side."""
    differ = [
        meaning + (f" ({', '.join(sorted(found))})" if fact == "engine" else "")
        for fact, meaning in _MEASURED.items()
        if (found := _differing(trials, results, fact))
    ]
    if differ:
        yield f"seconds and MB were measured {' and '.join(differ)}: compare rows only roughly"


def without_best_memory(
    table: Table, trials: pd.DataFrame, results: Sequence[TrialResult], header: str | None
) -> Table:
    """The table without marks in the column ``header`` if its rows are of different runs.

    If ``header`` is None, no column has marks. A process's peak memory has what earlier trials in
    it needed, so it depends on the engine.
    """
    if not _differing(trials, results, "run") and not _differing(trials, results, "engine"):
        return table
    columns = {j for j, shown in enumerate(table.headers) if header in (None, shown)}
    best = frozenset((i, j) for i, j in table.best if j not in columns)
    return replace(table, best=best, tied=frozenset(t for t in table.tied if t[1] not in columns))


def _differing(trials: pd.DataFrame, results: Sequence[TrialResult], fact: str) -> set[str]:
    """The values of a fact if they differ between a data set's rows, else none."""
    ran = trials[trials["status"].eq("ok")]
    values = pd.Series(
        [str(results[i].provenance.get(fact, "unknown")) for i in ran.index], ran.index, dtype=str
    )
    by_row = values.groupby([ran["dataset"], ran["category"], ran["method"]]).agg(frozenset)
    differ = by_row.groupby(["dataset", "category"]).nunique().gt(1).any()
    return set(values) if differ else set()
