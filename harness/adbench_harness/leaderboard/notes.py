"""What a reader of a table should know of the images and the runs behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from adbench_harness.results.store import TrialResult

_MEASURED = {
    "processor": "on different processors",
    "threads": "with different numbers of threads",
    "run": "in different runs",
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
    ran = trials[trials["status"].eq("ok")]
    differ = []
    for fact, meaning in _MEASURED.items():
        values = pd.Series([results[i].provenance.get(fact, "") for i in ran.index], ran.index)
        place = [ran["dataset"], ran["category"]]
        by_row = values.groupby([*place, ran["method"]]).agg(frozenset)
        if by_row.groupby(["dataset", "category"]).nunique().gt(1).any():
            differ.append(meaning)
    if differ:
        yield f"seconds and MB were measured {' and '.join(differ)}: compare rows only roughly"
