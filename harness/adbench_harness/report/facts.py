"""What a row's page says of its trials: components, provenance, and numbers by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from adbench_harness.leaderboard.columns import AXES, column
from adbench_harness.leaderboard.frame import partial, summarise
from adbench_harness.leaderboard.pivot import listing
from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import Heading, TrialResult
from adbench_harness.results.trial import Choice

_ELSEWHERE = ("images", "finished", "weights", "notes", "unsplit", "fitted")
"""What a provenance has that the page shows in another place, or not at all."""


def choices(result: TrialResult) -> list[tuple[str, Choice]]:
    """The components of a trial by kind, the model with what its fit chose."""
    trial = result.trial
    return [
        ("model", result.model),
        ("scorer", trial.scorer),
        *([("augmenter", trial.augmenter)] if trial.augmenter else []),
        *(("preprocessor", choice) for choice in trial.preprocessors),
        ("data set", trial.dataset),
    ]


def provenance(results: Sequence[TrialResult]) -> dict[str, list[str]]:
    """Provenance by name, with each distinct value once, but for what is elsewhere."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        for name, value in result.provenance.items():
            if name in _ELSEWHERE or value is None:
                continue
            if isinstance(value, Mapping):
                value = ", ".join(f"{key}: {item}" for key, item in value.items())
            found.setdefault(name, {})[str(value)] = None
        for used in result.trial.weights:
            text = f"{used.backbone} v{used.version}, sha256 {used.sha256 or 'none needed'}"
            text += "" if used.verified else " (not verified)"
            found.setdefault("weights", {})[text] = None
        settings = result.trial.evaluation
        text = f"maps at {settings.size or 'native'} size, border {settings.border}"
        found.setdefault("evaluation", {})[text] = None
        found.setdefault("protocol", {})[result.trial.protocol] = None
    return {name: list(values) for name, values in found.items()}


def numbers(trials: pd.DataFrame, names: Sequence[str], headings: Mapping[str, Heading]) -> Table:
    """One line per category, and their mean."""
    table = listing(trials, ["category"], names, headings)
    rows, notes = [list(row) for row in table.rows], [*table.notes]
    if len(rows) > 1:
        mean = summarise(trials, AXES)
        cells = [
            column(name, headings).cells(
                mean.mean[name], mean.spread[name], mean.seen[name], mean.total
            )[0]
            for name in names
        ]
        rows.append([f"mean of {len(rows)}", *cells])
        notes += partial(mean, names)
    return replace(table, rows=rows, notes=notes, best=frozenset())
