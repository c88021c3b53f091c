"""Results as data frames: one row per trial, or per combination and category; their averages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.errors import UserError, nearest
from adbench_harness.leaderboard.columns import (
    AXES,
    COUNTS,
    KEYS,
    METRICS,
    NATIVE,
    PRIMARY,
    UNRANKED,
    flag_text,
)
from adbench_harness.leaderboard.versions import image_versions, metric_versions
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import NONE, Choice, Trial, show

REPEATS = ("seed", "split_seed", "shot_seed")
SETTING = "setting"
"""The axis of what a model learns from; part of the data set's label unless it is requested."""
FIELDS = (*KEYS, *REPEATS, "status", "flags", "intervals", "marks", "covers", "reported", "hides")
COMPONENTS = ("dataset", "preprocessor", "augmenter", "model", "scorer")
AXIS_NAMES = (*KEYS, *REPEATS, "method")
"""The axes of every table; a parameter of a component is an axis too."""


def frame(results: Iterable[TrialResult], parameters: Sequence[str] = ()) -> pd.DataFrame:
    """One row per trial, with a column for each field and a float column for each metric.

    The fixed metrics come first (NaN if missing), then other metrics, sorted by name. The backbone
    and each of the ``parameters`` have their own columns, as text, and are left out of the labels.
    If components with the same label differ in version, weights, images or evaluation, a suffix
    distinguishes them. Of results that still have the same labels (after a metric was added), only
    the one that finished last is kept; ``hides`` counts the others. The index is that in
    ``results``.
    """
    results = with_choices(results)
    fields = list(dict.fromkeys([*FIELDS, *parameters]))
    table = pd.DataFrame([_fields(result, parameters) for result in results], columns=fields)
    for axis, variants in _variants(results).items():
        table[axis] = _told_apart(table[axis], variants)
    table["device"] = _known_devices(table)
    values = pd.DataFrame([dict(result.metrics) for result in results], index=table.index)
    names = [*METRICS, *sorted(set(values.columns) - set(METRICS))]
    table = table.join(values.reindex(columns=names).astype(float))
    finished = [result.provenance.get("finished", "") for result in results]
    keys = [*KEYS, *REPEATS, *parameters]
    table["hides"] = table.groupby(keys)["hides"].transform("size") - 1
    latest = table.iloc[np.argsort(finished, kind="stable")].drop_duplicates(keys, keep="last")
    return latest[~_superseded([results[index] for index in latest.index])].sort_index()


def with_choices(results: Iterable[TrialResult]) -> list[TrialResult]:
    """The results; a failed one gets what its model chose in others, so that rows stay whole."""
    results = list(results)
    chosen = {(r.trial.model, r.trial.weights): r.chosen for r in results if r.chosen}
    return [
        r if r.chosen else replace(r, chosen=chosen.get((r.trial.model, r.trial.weights), {}))
        for r in results
    ]


def _superseded(results: Sequence[TrialResult]) -> NDArray[np.bool_]:
    """Which results, the oldest first, report a broken model that could be planned later.

    Such a result has no scorer, so the label of no later result of the model is the same.
    """
    last = {_model_and_data(result.trial): i for i, result in enumerate(results)}
    return np.array(
        [
            result.status == "failed"
            and result.trial.scorer.name == NONE
            and last[_model_and_data(result.trial)] > i
            for i, result in enumerate(results)
        ],
        dtype=bool,
    )


def _model_and_data(trial: Trial) -> tuple[str, str, str, str]:
    return trial.dataset.label, trial.category, trial.protocol, trial.model.label


def select(
    results: Sequence[TrialResult],
    axes: Sequence[str],
    only: Mapping[str, str],
    *,
    empty: bool = False,
) -> pd.DataFrame:
    """The frame of the trials that ``only`` selects, with the parameters of ``axes`` and ``only``.

    A value of ``only`` is a label, or the name of a component, whatever its parameters. Raises
    UserError if no trial is left, unless the frame may be ``empty``.
    """
    if not results:
        raise UserError("there are no results; run a suite first, or name another folder")
    check_axes(results, {"--only": list(only)})
    trials = frame(results, [a for a in dict.fromkeys([*axes, *only]) if a not in AXIS_NAMES])
    trials = trials.assign(method=method(trials))
    for axis, value in only.items():
        names = trials[axis].astype(str)
        bare = pd.Series(
            [_bare(results[index], axis) for index in trials.index], trials.index, dtype=str
        )
        chosen = trials[names.eq(value) | bare.eq(value)]
        if chosen.empty and not empty:
            known = sorted({*(bare if bare.ne("").all() else names)})
            raise UserError(
                f"--only {axis}={value}: no result has this {axis}{nearest(value, known)}; choose "
                f"from {', '.join(known)}"
            )
        trials = chosen
    return trials


def check_axes(
    results: Sequence[TrialResult],
    named: Mapping[str, Sequence[str]],
    metrics: Collection[str] = (),
) -> None:
    """Raise UserError for an axis that no table of ``results`` has; ``named`` are its arguments.

    ``metrics`` are those that the user may have meant instead.
    """
    if all(name in AXIS_NAMES for names in named.values() for name in names):
        return
    found = {key for r in results for choice in components(r) for key in choice.params}
    for argument, names in named.items():
        for name in names:
            if name not in (*AXIS_NAMES, SETTING, *found):
                what = "axis, parameter or metric" if metrics else "axis"
                known = [*AXIS_NAMES, *found, *metrics]
                kinds = [f"a metric or cost ({', '.join(metrics)})"] if metrics else []
                kinds = [f"a parameter ({', '.join(sorted(found))})", *kinds]
                raise UserError(
                    f"{argument}: no {what} {name!r}{nearest(name, known)}; choose from "
                    f"{', '.join(AXIS_NAMES)}, or {', or '.join(kinds)}"
                )


def check_one_dataset(trials: pd.DataFrame, where: str = "") -> None:
    """Raise UserError for trials on several data sets, which cannot be compared ``where``."""
    datasets = trials["dataset"].unique()
    if len(datasets) > 1:
        raise UserError(
            f"these results are on {len(datasets)} data sets ({', '.join(datasets)}), which cannot "
            f"be compared{where}; select one with --only dataset=NAME"
        )


def _bare(result: TrialResult, axis: str) -> str:
    """A trial's component on an axis by its name alone; empty for other axes."""
    if axis == "backbone":
        return "+".join(used.backbone for used in result.trial.weights) or NONE
    if axis not in COMPONENTS:
        return ""
    return "+".join(choice.name for choice in chosen_on(result)[axis]) or NONE


def chosen_on(result: TrialResult) -> dict[str, tuple[Choice, ...]]:
    """A trial's components by axis, the model with what its fit chose."""
    trial = result.trial
    return {
        "dataset": (trial.dataset,),
        "preprocessor": trial.preprocessors,
        "augmenter": (trial.augmenter,) if trial.augmenter else (),
        "model": (result.model,),
        "scorer": (trial.scorer,),
    }


def metrics(trials: pd.DataFrame) -> list[str]:
    """The metric columns of a frame."""
    return trials.select_dtypes(float).columns.tolist()


def measured(trials: pd.DataFrame, wanted: Sequence[str] = ()) -> list[str]:
    """The metrics that some trial has; raises UserError if one of ``wanted`` is not among them."""
    values = trials.loc[trials["status"].eq("ok"), metrics(trials)]
    names = values.columns[values.notna().any()].tolist()
    for name in wanted:
        if not names:
            raise UserError(
                "no trial has succeeded, so there are no metrics; 'adbench leaderboard' shows why"
            )
        if name not in names:
            raise UserError(
                f"no result has the metric {name!r}{nearest(name, names)}; choose from "
                f"{', '.join(names)}"
            )
    return names or [PRIMARY[0]]


def aggregate(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per combination and category: means over seeds, and sample deviations (``_std``).

    ``seeds`` counts the trials that ran, ``failed`` those that did not.
    """
    ran = trials["status"].eq("ok")
    counted = trials.assign(seeds=ran, failed=~ran).groupby(list(KEYS))
    table = counted[["seeds", "failed"]].sum()
    groups = trials[ran].groupby(list(KEYS))[metrics(trials)]
    means, spreads = groups.mean(), groups.std()
    columns: dict[str, pd.Series[Any]] = {}
    for name in metrics(trials):
        if name in COUNTS:
            columns[name] = means[name].round().astype("Int64")
        else:
            columns |= {name: means[name], f"{name}_std": spreads[name]}
    return table.join(pd.DataFrame(columns)).reset_index()


class Summary(NamedTuple):
    """Per group and metric: the mean over categories, its spread over seeds, categories seen.

    ``total`` is the number of categories of a group's data set. ``whole`` is true if the group has
    all categories for which the metric exists; ``fair`` is true if no number used the test images.
    """

    mean: pd.DataFrame
    spread: pd.DataFrame
    seen: pd.DataFrame
    total: pd.Series[int]
    whole: pd.DataFrame
    fair: pd.Series[bool]


def summarise(trials: pd.DataFrame, keys: Sequence[str]) -> Summary:
    """Average trials over all axes that are not among ``keys``: first seeds, then categories.

    The spread is the sample deviation, over seeds, of the mean over categories. A seed that lacks
    a category is left out of it.
    """
    keys, names = list(keys), metrics(trials)
    groups = trials.groupby(keys)
    index = groups.size().index
    ran = trials[trials["status"].eq("ok")]
    within = ran.groupby(list(dict.fromkeys([*keys, "category"])))
    categories = within[names].mean()
    stands_for = within["covers"].max()
    seen = categories.notna().mul(stands_for, axis=0).groupby(level=keys).sum()
    repeats = [key for key in REPEATS if key not in keys]
    runs = ran.groupby([*keys, *repeats])[names]
    counts = runs.count()
    even = counts == seen.loc[counts.reset_index(repeats).index].to_numpy()
    fair = trials.assign(fair=trials["flags"].map(UNRANKED.isdisjoint))

    within_keys = ["dataset", "category"]
    # If every trial of a category failed, its metrics are unknown: it is expected to have all.
    can = (ran.groupby(within_keys)[names].count() > 0).reindex(
        trials.groupby(within_keys).size().index, fill_value=True
    )
    stands_for = trials.groupby(within_keys)["covers"].max()
    # Categories that a printed mean covers may also be present one by one.
    alone = can[stands_for == 1].groupby(level="dataset").sum()
    joint = can.mul(stands_for, axis=0)[stands_for > 1].groupby(level="dataset").max()
    expected = alone.combine(joint, np.fmax).astype(int)
    seen = seen.reindex(index, fill_value=0)
    if "category" in keys:
        total, expected = pd.Series(1, index=index), seen.clip(lower=1)
    else:
        datasets = groups["dataset"].first()
        sizes = (stands_for == 1).groupby(level="dataset").sum()
        sizes = sizes.combine(stands_for.groupby(level="dataset").max(), max)
        total = datasets.map(sizes)
        expected = expected.loc[datasets]
    return Summary(
        mean=categories.groupby(level=keys).mean().reindex(index),
        spread=runs.mean().where(even).groupby(level=keys).std().reindex(index),
        seen=seen,
        total=total,
        whole=(seen > 0) & (seen == expected.to_numpy()),
        fair=fair.groupby(keys)["fair"].all(),
    )


def partial(summary: Summary, names: Sequence[str]) -> list[str]:
    """What the count behind a mean of ``names`` says, by an example; empty if none has a count."""
    seen = summary.seen[names].to_numpy()
    lacking = np.argwhere((seen > 0) & (seen < summary.total.to_numpy()[:, None]))
    if not len(lacking):
        return []
    i, j = lacking[0]
    have, total = seen[i, j], summary.total.iloc[i]
    return [f"({have}/{total}): the mean of {have} of {total} categories"]


def method(trials: pd.DataFrame, but: str = "") -> pd.Series[str]:
    """Model, scorer and every other axis that varies among ``trials``, except the axis ``but``."""
    shown = [
        axis
        for axis in AXES
        if axis != but and (axis in ("model", "scorer") or trials[axis].nunique() > 1)
    ]
    labels = (
        " · ".join(part for part in parts if part != NONE)
        for parts in trials[shown].itertuples(index=False, name=None)
    )
    return pd.Series(labels, index=trials.index, dtype=str)


def components(result: TrialResult) -> Iterator[Choice]:
    """A trial's components, with what its model chose."""
    trial = result.trial
    yield from (result.model, trial.scorer)
    if trial.augmenter:
        yield trial.augmenter
    yield from (*trial.preprocessors, trial.dataset)


def _value(result: TrialResult, name: str) -> str:
    """A parameter's value, or those of all components that have one of this name."""
    found = {c.name: show(c.params[name]) for c in components(result) if name in c.params}
    if len(found) > 1:
        return ", ".join(f"{component} {value}" for component, value in found.items())
    return next(iter(found.values()), NONE)


def _fields(result: TrialResult, parameters: Sequence[str]) -> dict[str, Any]:
    trial = result.trial
    shown = {name: _value(result, name) for name in parameters}
    # Classification has its own metrics, so its rows are never ranked with others.
    setting = f" [{trial.setting}]" if trial.setting not in ("", "classification") else ""
    if SETTING in parameters:
        shown[SETTING], setting = trial.setting or trial.protocol, ""

    def label(choice: Choice) -> str:
        return without(choice, parameters).label

    return {
        "dataset": label(trial.dataset) + setting,
        "category": trial.category,
        "preprocessor": "+".join(map(label, trial.preprocessors)) or NONE,
        "augmenter": label(trial.augmenter) if trial.augmenter else NONE,
        "model": without(result.model, ["backbone", *parameters]).label,
        "scorer": label(trial.scorer),
        "backbone": trial.backbone,
        "device": result.provenance.get("device"),
        "seed": trial.seed,
        "split_seed": trial.split_seed,
        "shot_seed": trial.shot_seed,
        "status": "ok" if result.measured else "failed",
        "flags": result.flags,
        "intervals": result.intervals,
        "marks": {},
        "covers": 1,
        "reported": False,
        "hides": 0,
        **shown,
    }


def without(choice: Choice, names: Collection[str]) -> Choice:
    """The choice as a label shows it that leaves out the parameters ``names``."""
    return replace(choice, changed=tuple(key for key in choice.changed if key not in names))


def _variants(results: Sequence[TrialResult]) -> dict[str, list[tuple[str, ...]]]:
    """By axis and trial: the facts that may differ between components of one label."""
    trials = [result.trial for result in results]
    return {
        "dataset": [
            (
                _version(trial.dataset),
                trial.protocol,
                flag_text(f"size={trial.evaluation.size or NATIVE}"),
                flag_text(f"border={trial.evaluation.border}"),
                *measured_by,
                images,
            )
            for trial, measured_by, images in zip(
                trials, metric_versions(trials), image_versions(results), strict=True
            )
        ],
        "preprocessor": [("+".join(map(_version, trial.preprocessors)),) for trial in trials],
        "augmenter": [(_version(trial.augmenter),) for trial in trials],
        "model": [
            (
                _version(trial.model),
                *(f"{n} {data[:8]}" for n, data in trial.auxiliary if n != trial.dataset.name),
            )
            for trial in trials
        ],
        "scorer": [(_version(trial.scorer),) for trial in trials],
        "backbone": [
            (
                *(f"v{used.version}" for used in trial.weights),
                *(f"weights {(used.sha256 or NONE)[:8]}" for used in trial.weights),
            )
            for trial in trials
        ],
    }


def _version(choice: Choice | None) -> str:
    return f"v{choice.version}" if choice else ""


def _told_apart(labels: pd.Series[str], variants: list[tuple[str, ...]]) -> pd.Series[str]:
    """Labels, each followed by the facts that differ within the label."""
    width = max(map(len, variants), default=0)
    padded = [(*row, *[""] * (width - len(row))) for row in variants]
    parts = pd.DataFrame(padded, index=labels.index)
    varies = parts.groupby(labels).transform("nunique").gt(1).to_numpy()
    if not varies.any():
        return labels
    marks = [
        ", ".join(part for part, shown in zip(row, flags, strict=True) if shown and part)
        for row, flags in zip(parts.to_numpy(), varies, strict=True)
    ]
    return pd.Series(
        [f"{label} [{mark}]" if mark else label for label, mark in zip(labels, marks, strict=True)],
        index=labels.index,
        dtype=str,
    )


def _known_devices(table: pd.DataFrame) -> pd.Series[str]:
    """Devices; a failed trial without one gets that of other trials of its combination."""
    others = [axis for axis in AXES if axis != "device"]
    devices = table["device"].fillna(table.groupby(others)["device"].transform("first"))
    known = devices.dropna().unique()
    return devices.fillna(known[0] if len(known) == 1 else "unknown").astype(str)
