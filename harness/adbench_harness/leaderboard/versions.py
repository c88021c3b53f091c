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
    identities = _identities([result for result in results if result.trial.fingerprint])
    used: dict[Any, dict[str, int]] = {}
    order = sorted(
        range(len(results)), key=lambda index: results[index].provenance.get("finished", "")
    )
    for index in order:
        if (key := _key(results[index].trial)) in identities:
            part, fingerprint = identities[key]
            prints = used.setdefault(part, {})
            prints.setdefault(fingerprint, len(prints))
    versions: dict[Any, list[list[str]]] = {}
    for (dataset, *_), prints in used.items():
        if len(prints) > 1:
            found = versions.setdefault(dataset, [])
            for number, fingerprint in enumerate(prints):
                found.extend([] for _ in range(number + 1 - len(found)))
                found[number].append(fingerprint)
    names = {dataset: list(map(_named, found)) for dataset, found in versions.items()}

    def name(trial: Trial) -> str:
        key = _key(trial)
        if key[0] not in names:
            return ""
        part, fingerprint = identities.get(key, (None, ""))
        prints = used.get(part, {})
        return names[key[0]][prints[fingerprint] if len(prints) > 1 else -1]

    return [name(result.trial) for result in results]


def _identities(results: Sequence[TrialResult]) -> dict[tuple[Any, ...], tuple[Any, str]]:
    """By key: the part of the data set within which a fingerprint tells images apart, and that one.

    It is the fingerprint of the split with the seed 0, which results of other splits record. Of
    those that are older than this record, each split is a part for itself.
    """
    known = {}
    for result in results:
        seed = result.trial.split_seed
        unsplit = result.provenance.get("unsplit") if seed else result.trial.fingerprint
        if unsplit:
            known[_key(result.trial)] = unsplit
    splits = {key[:3] for key in known}
    found = {}
    for key in map(_key, (result.trial for result in results)):
        *part, seed, fingerprint = key
        found[key] = (
            ((*part,), known.get(key, fingerprint))
            if key[:3] in splits
            else ((*part, seed), fingerprint)
        )
    return found


def _key(trial: Trial) -> tuple[Any, ...]:
    """Data set, category, split and fingerprint."""
    dataset = (trial.dataset.label, trial.dataset.version, trial.protocol)
    return dataset, trial.category, trial.split_seed, trial.fingerprint


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
