"""Labels of a table's rows: display names, and without the parameters that all rows share."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from adbench_harness.errors import UserError, nearest
from adbench_harness.leaderboard.frame import COMPONENTS, chosen_on, method, with_choices, without
from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Choice, show

Shared = Mapping[tuple[str, str], Mapping[str, str]]
"""By axis and component: the changed parameters, as text, that all its trials have in common."""


def relabelled(
    trials: pd.DataFrame,
    results: Sequence[TrialResult],
    *,
    but: Collection[str] = (),
    names: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """The trials under shorter labels, and the line that says what was left out of them.

    A parameter that all trials of a component share is left out, and so are the parameters ``but``,
    which have columns of their own. ``names`` has the display names of components and of labels.
    """
    if trials.empty:
        return trials, []
    names = names or {}
    complete = with_choices(results)
    chosen = [complete[index] for index in trials.index]
    shared = _shared(chosen, but)

    def labels(axis: str, names: Mapping[str, str]) -> list[str]:
        if axis == "backbone":
            return [names.get(label, label) for label in trials[axis]]
        return [
            _relabelled(label, axis, chosen_on(result)[axis], shared, but, names)
            for result, label in zip(chosen, trials[axis], strict=True)
        ]

    columns = {axis: labels(axis, names) for axis in (*COMPONENTS, "backbone")}
    if names:
        for axis, named in columns.items():
            _check_apart(labels(axis, {}), named)
    trials = trials.assign(**columns)
    written = [
        f"{names.get(name, name)}({','.join(f'{key}={value}' for key, value in found.items())})"
        for (_, name), found in shared.items()
        if found
    ]
    lines = [f"parameters: {', '.join(dict.fromkeys(written))}"] if written else []
    return trials.assign(method=method(trials)), lines


def renamed(table: Table, names: Mapping[str, str]) -> Table:
    """The table with display names for whole labels, such as those of methods."""

    def row(cells: Sequence[str]) -> list[str]:
        labels = [names.get(cell, cell) for cell in cells[: table.labels]]
        return [*labels, *cells[table.labels :]]

    rows = [row(cells) for cells in table.rows]
    for place in range(table.labels):
        _check_apart((cells[place] for cells in table.rows), (cells[place] for cells in rows))
    headers = [names.get(header, header) for header in table.headers]
    return replace(table, headers=headers, rows=rows)


def _check_apart(labels: Iterable[str], named: Iterable[str]) -> None:
    """Raise UserError if different ``labels`` have one display name: their rows would be one."""
    owners: dict[str, str] = {}
    for label, name in zip(labels, named, strict=True):
        if (other := owners.setdefault(name, label)) != label:
            raise UserError(
                f"--label: '{name}' would be the name of '{other}' and of '{label}'; give each a "
                "name of its own"
            )


def check_names(names: Iterable[str], results: Iterable[TrialResult]) -> None:
    """Raise UserError for a display name of something that no result has."""
    known: dict[str, None] = {}
    for result in results:
        for choices in chosen_on(result).values():
            known.update(dict.fromkeys(choice.name for choice in choices))
        known.update(dict.fromkeys(used.backbone for used in result.trial.weights))
        known[result.trial.category] = None
    for name in names:
        bare = [re.split(r"[(\[]", part)[0].strip() for part in re.split(r" · |\+", name)]
        if not all(part in known for part in bare):
            raise UserError(
                f"--label: no result has '{name}'{nearest(name, known)}; choose from "
                f"{', '.join(known)}"
            )


def _shared(results: Iterable[TrialResult], but: Collection[str]) -> Shared:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        for axis, choices in chosen_on(result).items():
            for choice in choices:
                own = _changed(axis, choice, but)
                common = found.setdefault((axis, choice.name), own)
                found[axis, choice.name] = {
                    key: value for key, value in common.items() if own.get(key) == value
                }
    return found


def _changed(axis: str, choice: Choice, but: Collection[str]) -> dict[str, str]:
    hidden = _hidden(axis, but)
    return {key: show(choice.params[key]) for key in choice.changed if key not in hidden}


def _hidden(axis: str, but: Collection[str]) -> set[str]:
    """The parameters that no label of the axis shows: those with a column of their own."""
    return {*but, "backbone"} if axis == "model" else {*but}


def _relabelled(
    label: str,
    axis: str,
    choices: Sequence[Choice],
    shared: Shared,
    but: Collection[str],
    names: Mapping[str, str],
) -> str:
    """The label of some components with its suffix, shortened and with display names."""
    if not choices:
        return label
    hidden = _hidden(axis, but)
    full = [without(choice, hidden).label for choice in choices]
    short = [
        names.get(whole) or _short(choice, hidden | {*shared[axis, choice.name]}, names)
        for choice, whole in zip(choices, full, strict=True)
    ]
    return "+".join(short) + label.removeprefix("+".join(full))


def _short(choice: Choice, hidden: Collection[str], names: Mapping[str, str]) -> str:
    label = without(choice, hidden).label
    name = names.get(choice.name, choice.name)
    return names.get(label) or name + label.removeprefix(choice.name)
