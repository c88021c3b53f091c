"""How much of a simulated cluster works: 15 categories x 20 methods x 5 seeds."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
import pytest

from adbench_harness.engines.schedule import fits, schedule
from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial
from adbench_harness.types import Sample

PREPARE = 30.0
"""Seconds for the images of a category, which every part of a bundle needs."""
MEDIAN, SPREAD = 120.0, 1.0
"""Seconds of one model with its scorers: log-normal over the methods."""
CATEGORIES, METHODS, SEEDS = 15, 20, 5
EFFICIENCY = {1: 1.0, 4: 0.9, 16: 0.8, 256: 0.55, 4096: 0.1}


def grid() -> tuple[list[Bundle], dict[str, float]]:
    """The bundles, and the seconds of each method."""
    draw = np.random.default_rng(0)
    seconds = {
        f"method-{i}": float(MEDIAN * np.exp(SPREAD * draw.normal())) for i in range(METHODS)
    }
    sample = (Sample(Path("x.png"), "train", 0),)
    bundles = []
    for number in range(CATEGORIES):
        trials = tuple(
            Trial(
                dataset=Choice("data", 1),
                category=f"category-{number}",
                fingerprint="",
                protocol="unsupervised",
                split_seed=0,
                preprocessors=(),
                augmenter=None,
                model=Choice(name, 1),
                scorer=Choice("scorer", 1),
                weights=(),
                seed=seed,
                evaluation=EvaluationSettings(),
                metrics=(),
            )
            for name in seconds
            for seed in range(SEEDS)
        )
        bundles.append(Bundle((), "", trials, sample * (200 + 10 * number), ()))
    return bundles, seconds


def duration(bundle: Bundle, seconds: dict[str, float]) -> float:
    return PREPARE + sum(seconds[trials[0].model.name] for trials in fits(bundle))


def makespan(bundles: list[Bundle], seconds: dict[str, float], workers: int) -> float:
    """When the last worker ends if each takes the next part as soon as it is free."""
    free = [0.0] * workers
    for part in schedule(bundles, workers):
        heapq.heapreplace(free, free[0] + duration(part, seconds))
    return max(free)


@pytest.mark.parametrize("workers", EFFICIENCY)
def test_a_simulated_grid(workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    bundles, seconds = grid()
    work = sum(duration(bundle, seconds) for bundle in bundles)
    longest = PREPARE + max(seconds.values())
    took = makespan(bundles, seconds, workers)
    efficiency = work / (workers * took)
    best = min(1.0, work / (workers * longest))
    with capsys.disabled():
        print(
            f"\n{workers:5d} workers: {took / 3600:6.2f} h, "
            f"efficiency {efficiency:.3f} of at most {best:.3f}"
        )
    assert EFFICIENCY[workers] <= efficiency <= best + 1e-9
