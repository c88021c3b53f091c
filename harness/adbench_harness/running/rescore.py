"""Computes metrics again from what a trial stored, with other settings and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adbench_harness.results.store import Heading, Store, TrialResult
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.running import evaluating
from adbench_harness.running.images import TrialImages
from adbench_harness.running.provenance import setting_flags
from adbench_harness.types import Metric


def rescore(
    result: TrialResult,
    store: Store,
    here: TrialImages | None,
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
) -> TrialResult:
    """The result of the same trial, with its scores and stored maps evaluated under ``settings``.

    Costs are kept. Those ``metrics`` are computed for which the trial stored what they need; maps
    are there only if it was run with ``--keep-maps``, and are used only if its images are ``here``.
    Maps are stored with 16 bits, which changes a metric by less than 1e-4.
    """
    images = store.images(result.trial)
    maps = store.maps(result.trial)
    seen = evaluating.stored(images, maps, here, settings)
    found = {m.name: float(m.compute(seen)) for m in metrics if seen.has(m.needs)}
    ranged = {m.name: m.interval for m in metrics if m.interval and m.name in found}
    measured = {name.partition("@")[0] for name in result.trial.metrics}
    kept = {name: value for name, value in result.metrics.items() if name not in measured}
    headings = {name: heading for name, heading in result.columns.items() if name in kept}
    headings |= {metric.name: Heading.of(metric) for metric in metrics if metric.name in found}
    before = setting_flags(result.trial.evaluation)
    return replace(
        result,
        trial=replace(
            result.trial,
            evaluation=settings,
            metrics=tuple(f"{metric.name}@{metric.version}" for metric in metrics),
        ),
        metrics=kept | found,
        columns=headings,
        intervals={name: interval(seen) for name, interval in ranged.items()},
        flags=(*setting_flags(settings), *(flag for flag in result.flags if flag not in before)),
        images=images,
        maps=maps,
        curves=store.curves(result.trial),
    )
