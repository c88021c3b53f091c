"""Metrics rank rightly."""

from __future__ import annotations

import numpy as np

from adbench_harness.evaluation import Evaluation
from adbench_harness.testing.common import (
    Check,
    Skipped,
)
from adbench_harness.types import (
    Metric,
)


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


def _is_one_on_a_perfect_ranking(metric: Metric) -> None:
    if metric.chance is None and metric.needs != "classes":
        raise Skipped("not a ranking metric")
    truth = _truth()
    assert abs(metric.compute(_evaluation(metric, truth, truth)) - 1) < 1e-9


def _is_at_chance_on_constant_scores(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("declares no chance level")
    truth = _truth()
    value = metric.compute(_evaluation(metric, np.ones(400), truth))
    assert abs(value - metric.chance(float(truth.mean()))) < 1e-9


def _ignores_monotone_maps(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("not a ranking metric")
    scores, truth = np.random.default_rng(1).integers(0, 50, 400), _truth()
    value = metric.compute(_evaluation(metric, scores, truth))
    for monotone in (scores * 3.0 - 7, scores.astype(float) ** 3, np.log1p(scores)):
        assert abs(metric.compute(_evaluation(metric, monotone, truth)) - value) < 1e-9


def _is_a_number(metric: Metric) -> None:
    values, truth = np.random.default_rng(2).integers(0, 2, 400), _truth()
    assert np.isfinite(metric.compute(_evaluation(metric, values, truth)))


def _interval_holds_the_number(metric: Metric) -> None:
    if metric.interval is None:
        raise Skipped("declares no confidence interval")
    values, truth = np.random.default_rng(2).integers(0, 2, 400), _truth()
    evaluation = _evaluation(metric, values, truth)
    low, high = metric.interval(evaluation)
    assert low < metric.compute(evaluation) < high


CHECKS: dict[str, Check] = {
    "is_a_number": _is_a_number,
    "perfect_ranking_is_one": _is_one_on_a_perfect_ranking,
    "constant_scores_are_chance": _is_at_chance_on_constant_scores,
    "interval_holds_the_number": _interval_holds_the_number,
    "monotone_maps_change_nothing": _ignores_monotone_maps,
}
