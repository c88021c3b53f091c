"""Metrics rank rightly."""

from __future__ import annotations

import numpy as np

from adbench_harness.evaluation import Evaluation
from adbench_harness.testing.common import Check, Skipped
from adbench_harness.types import Metric


def _evaluation(metric: Metric, values: np.ndarray, truth: np.ndarray) -> Evaluation:
    labels = truth.astype(np.int8)
    if metric.needs == "image":
        return Evaluation(labels, scores=values.astype(np.float32))
    if metric.needs == "map":
        masks = truth.astype(bool).reshape(4, -1, 10)
        maps = values.astype(np.float32).reshape(4, -1, 10)
        return Evaluation(np.ones(4, np.int8), maps=list(maps), masks=list(masks))
    return Evaluation(labels, predicted=values.astype(np.int64), true=truth.astype(np.int64))


def _truth() -> np.ndarray:
    return (np.random.default_rng(0).random(400) < 0.2).astype(int)


def _equal(value: float, expected: float, what: str) -> None:
    assert abs(value - expected) < 1e-9, f"{what}: {value:.12g}, not {expected:.12g}"


def _is_one_on_a_perfect_ranking(metric: Metric) -> None:
    if metric.chance is None and metric.needs != "classes":
        raise Skipped("not a ranking metric")
    truth = _truth()
    _equal(metric.compute(_evaluation(metric, truth, truth)), 1, "scores that are the truth")


def _is_at_chance_on_constant_scores(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("declares no chance level")
    truth = _truth()
    value = metric.compute(_evaluation(metric, np.ones(400), truth))
    _equal(value, metric.chance(float(truth.mean())), "constant scores")


def _ignores_monotone_maps(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("not a ranking metric")
    scores, truth = np.random.default_rng(1).integers(0, 50, 400), _truth()
    value = metric.compute(_evaluation(metric, scores, truth))
    for how, monotone in (
        ("3 x - 7", scores * 3.0 - 7),
        ("x^3", scores.astype(float) ** 3),
        ("log(1 + x)", np.log1p(scores)),
    ):
        _equal(metric.compute(_evaluation(metric, monotone, truth)), value, f"scores x as {how}")


def _is_a_number(metric: Metric) -> None:
    values, truth = np.random.default_rng(2).integers(0, 2, 400), _truth()
    value = metric.compute(_evaluation(metric, values, truth))
    assert np.isfinite(value), f"{value} on scores of 0 and 1"


def _interval_holds_the_number(metric: Metric) -> None:
    if metric.interval is None:
        raise Skipped("declares no confidence interval")
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
