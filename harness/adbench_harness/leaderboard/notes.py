"""What a reader of a table should know of the images behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from adbench_harness.results.store import TrialResult


def image_notes(trials: pd.DataFrame, results: Sequence[TrialResult]) -> Iterator[str]:
    """Each note of the trials' results once, with its categories."""
    said: dict[str, dict[str, None]] = {}
    for label, index in zip(trials["dataset"], trials.index, strict=True):
        result = results[index]
        for note in result.provenance.get("notes", ()):
            said.setdefault(note, {})[f"{label}/{result.trial.category}"] = None
    for note, places in sorted(said.items()):
        yield f"{', '.join(sorted(places))}: {note}"
