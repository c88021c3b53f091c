"""Metrics rank images and pixels correctly."""

from __future__ import annotations

import itertools

import numpy as np

from adbench_harness.evaluation import Evaluation
from adbench_harness.results.store import Heading
from adbench_harness.testing.common import Check, Skipped
from adbench_harness.types import GOOD, Metric


def _evaluation(metric: Metric, values: np.ndarray, truth: np.ndarray) -> Evaluation:
    """An evaluation with what the metric needs and with everything else that a run provides.

    Held-out normal images have the lowest score. A metric of pixels gets four images with two masks
    each, and a saturation threshold of half the area of the left mask.
    """
    count = len(truth) if metric.needs in ("image", "validation", "classes") else 4
    labels = truth.astype(np.int8) if count > 4 else np.ones(4, np.int8)
    types = itertools.cycle(metric.defects or ("scratch", "spot"))
    defects = tuple(next(types) if label else GOOD for label in labels)
    names = tuple(f"category/test/{defect}/{i}.png" for i, defect in enumerate(defects))
    scores = values.astype(np.float32)
    if metric.needs in ("image", "validation"):
        validation = np.full(20, scores.min()) if metric.needs == "validation" else None
        return Evaluation(labels, scores, defects=defects, names=names, validation=validation)
    if metric.needs in ("map", "regions"):
        masks = list(truth.astype(bool).reshape(4, -1, 10))
        left = np.arange(10) < 5
        return Evaluation(
            labels,
            maps=list(scores.reshape(4, -1, 10)),
            masks=masks,
            defects=defects,
            names=names,
            mapped=np.arange(4),
            regions=[[mask & left, mask & ~left] for mask in masks],
            saturation=[[np.count_nonzero(mask & left) / 2, None] for mask in masks],
        )
    return Evaluation(
        labels,
        predicted=values.astype(np.int64),
        true=truth.astype(np.int64),
        classes=(GOOD, "defect"),
        defects=defects,
        names=names,
    )


def _truth() -> np.ndarray:
    return (np.random.default_rng(0).random(400) < 0.2).astype(int)


def _equal(value: float, expected: float, what: str) -> None:
    assert abs(value - expected) < 1e-9, f"{what}: {value:.12g}, not {expected:.12g}"


def _is_one_on_a_perfect_ranking(metric: Metric) -> None:
    if metric.chance is None and metric.needs != "classes":
        raise Skipped("it is not a ranking metric")
    truth = _truth()
    _equal(metric.compute(_evaluation(metric, truth, truth)), 1, "scores equal to the labels")


def _is_at_chance_on_constant_scores(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("it declares no chance level")
    truth = _truth()
    value = metric.compute(_evaluation(metric, np.ones(400), truth))
    _equal(value, metric.chance(float(truth.mean())), "constant scores")


def _ignores_monotone_maps(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("it is not a ranking metric")
    scores, truth = np.random.default_rng(1).integers(0, 50, 400), _truth()
    value = metric.compute(_evaluation(metric, scores, truth))
    for how, monotone in (
        ("3 x - 7", scores * 3.0 - 7),
        ("x^3", scores.astype(float) ** 3),
        ("log(1 + x)", np.log1p(scores)),
    ):
        _equal(metric.compute(_evaluation(metric, monotone, truth)), value, f"scores x -> {how}")


def _is_a_number(metric: Metric) -> None:
    values, truth = np.random.default_rng(2).integers(0, 2, 400), _truth()
    value = metric.compute(_evaluation(metric, values, truth))
    assert np.isfinite(value), f"the metric is {value} for scores of 0 and 1"
    assert Heading.of(metric).allows(value), f"unit '{metric.unit}' does not allow {value:g}"


def _interval_holds_the_number(metric: Metric) -> None:
    if metric.interval is None:
        raise Skipped("it declares no confidence interval")
    values, truth = np.random.default_rng(2).integers(0, 2, 400), _truth()
    evaluation = _evaluation(metric, values, truth)
    low, high = metric.interval(evaluation)
    value = metric.compute(evaluation)
    assert low < value < high, f"{value:.6g} is not between {low:.6g} and {high:.6g}"


CHECKS: dict[str, Check] = {
    "is_a_number": _is_a_number,
    "perfect_ranking_is_one": _is_one_on_a_perfect_ranking,
    "constant_scores_are_chance": _is_at_chance_on_constant_scores,
    "interval_holds_the_number": _interval_holds_the_number,
    "monotone_maps_change_nothing": _ignores_monotone_maps,
}
