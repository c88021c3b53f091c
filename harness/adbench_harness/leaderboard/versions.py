"""Which images, and which versions of the metrics, each result was measured with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Trial

_DIGITS = 8


def image_versions(results: Sequence[TrialResult]) -> list[str]:
    """By result: the images that it was measured on; empty if its data set has one set of images.

    If a category was run on different images, its fingerprints are numbered in the order in which
    they were first used. All first ones of a data set are one version of it, all second ones the
    next. Categories whose images did not change belong to the last one.
    """
    used: dict[Any, dict[str, int]] = {}
    order = sorted(
        range(len(results)), key=lambda index: results[index].provenance.get("finished", "")
    )
    for index in order:
        trial = results[index].trial
        prints = used.setdefault(_part(trial), {})
        if trial.fingerprint:  # a trial that failed while it was planned has none
            prints.setdefault(trial.fingerprint, len(prints))
    versions: dict[Any, list[list[str]]] = {}
    for (dataset, *_), prints in used.items():
        if len(prints) > 1:
            found = versions.setdefault(dataset, [])
            for number, fingerprint in enumerate(prints):
                found.extend([] for _ in range(number + 1 - len(found)))
                found[number].append(fingerprint)
    names = {dataset: list(map(_named, found)) for dataset, found in versions.items()}
    return [
        names[dataset][used[part].get(fingerprint, -1) if len(used[part]) > 1 else -1]
        if (dataset := (part := _part(result.trial))[0]) in names
        else ""
        for result in results
        for fingerprint in [result.trial.fingerprint]
    ]


def _part(trial: Trial) -> tuple[Any, ...]:
    """The data set, and what else the fingerprint depends on if the images are the same."""
    dataset = (trial.dataset.label, trial.dataset.version, trial.protocol)
    return dataset, trial.category, trial.split_seed


def _named(fingerprints: Sequence[str]) -> str:
    if len(fingerprints) == 1:
        return f"images {fingerprints[0][:_DIGITS]}"
    together = hashlib.sha256("".join(sorted(fingerprints)).encode())
    return f"images {together.hexdigest()[:_DIGITS]}"


def metric_versions(trials: Sequence[Trial]) -> Iterator[tuple[str, ...]]:
    """By trial: the version of each metric that ``trials`` use in several versions."""
    pairs = [dict(metric.split("@") for metric in trial.metrics) for trial in trials]
    used: dict[str, set[str]] = {}
    for found in pairs:
        for name, version in found.items():
            used.setdefault(name, set()).add(version)
    several = sorted(name for name, versions in used.items() if len(versions) > 1)
    for found in pairs:
        yield tuple(f"{name} v{found[name]}" if name in found else "" for name in several)
