"""Computes metrics again from what a trial stored, with other settings and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adbench_harness.results.store import Failure, Heading, Store, TrialResult
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
    A metric that fails is a failure of the new result, and the others are kept. Raises UserError if
    its scores are missing or damaged.
    """
    images = store.scored(result.trial)
    maps = store.maps(result.trial)
    seen = evaluating.stored(images, maps, here, settings)
    found: dict[str, float] = {}
    ranges: dict[str, tuple[float, float]] = {}
    failures = []
    for metric in metrics:
        if not seen.has(metric.needs, metric.defects):
            continue
        try:
            found[metric.name] = evaluating.value(metric, seen)
            if metric.interval is not None:
                ranges[metric.name] = metric.interval(seen)
        except Exception as error:
            failures.append(Failure.of(f"metric {metric.name}", error))
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
        intervals=ranges,
        status="failed" if failures else "ok",
        failures=tuple(failures),
        flags=(*setting_flags(settings), *(flag for flag in result.flags if flag not in before)),
        images=images,
        maps=maps,
        curves=store.curves(result.trial),
    )
