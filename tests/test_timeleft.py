from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial, Weights
from adbench_harness.timeleft import TimeLeft
from adbench_harness.types import Sample

TRIAL = Trial(
    dataset=Choice("mini", 1),
    category="a",
    fingerprint="f",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(),
    augmenter=None,
    model=Choice("patchcore", 1),
    scorer=Choice("nn", 1),
    weights=(Weights("embedded", 1),),
    seed=0,
    evaluation=EvaluationSettings(),
    metrics=(),
)


def bundles(
    categories: int, models: dict[str, int], seeds: int = 1, images: int = 100
) -> list[Bundle]:
    """A bundle per category, with ``models`` and their number of scorers; sizes differ."""
    return [
        Bundle(
            plugins=(),
            root="",
            trials=tuple(
                replace(
                    TRIAL,
                    category=str(number),
                    seed=seed,
                    model=Choice(model, 1),
                    scorer=Choice(f"scorer {k}", 1),
                )
                for model, scorers in models.items()
                for seed in range(seeds)
                for k in range(scorers)
            ),
            samples=(Sample(Path("a"), "test", 0),) * (images + 20 * number),
            categories=(),
        )
        for number in range(categories)
    ]


def durations(plan: list[Bundle], fit: dict[str, float]) -> list[tuple[Trial, float]]:
    """What a run would take: images and features once a bundle, a fit once, then evaluation."""
    found = []
    for number, bundle in enumerate(plan):
        seen: set[tuple[str, int]] = set()
        for place, trial in enumerate(bundle.trials):
            size = len(bundle.samples) / 100
            seconds = 0.5 * size
            seconds += 12.0 * size if place == 0 else 0.0
            seconds += 6.0 if number == place == 0 else 0.0  # libraries and kernels
            key = (trial.model.name, trial.seed)
            seconds += fit[trial.model.name] * size if key not in seen else 0.0
            seen.add(key)
            found.append((trial, seconds))
    return found


@pytest.mark.parametrize(
    ("plan", "fit"),
    [
        (bundles(5, {"patchcore": 3}), {"patchcore": 20}),
        (bundles(15, {"patchcore": 1}), {"patchcore": 20}),
        (bundles(15, {"patchcore": 2, "padim": 1}), {"patchcore": 20, "padim": 10}),
        (bundles(10, {"patchcore": 3}, seeds=3), {"patchcore": 30}),
        (bundles(1, {"patchcore": 1}, seeds=10), {"patchcore": 5}),
        (bundles(4, {"patchcore": 5, "padim": 1}), {"patchcore": 30, "padim": 15}),
    ],
)
def test_from_the_third_trial_on_it_is_right_within_a_factor_of_two(
    plan: list[Bundle], fit: dict[str, float]
) -> None:
    left = TimeLeft(plan)
    real = durations(plan, fit)
    for done, (trial, seconds) in enumerate(real[:-1], start=1):
        left.done(trial, seconds)
        truth = sum(seconds for _, seconds in real[done:])
        expected = left.seconds()
        assert (expected is not None) == (done >= 3)
        if expected is not None:
            assert truth / 2 <= expected <= truth * 2, (done, expected, truth)


def test_a_trial_that_was_never_planned_counts_for_nothing() -> None:
    left = TimeLeft([])
    left.done(TRIAL, 5.0)
    assert left.seconds() is None
