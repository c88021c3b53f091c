from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from adbench_harness.engines.schedule import estimate, fits, schedule, singles
from adbench_harness.results.trial import Bundle

Planned = Callable[..., tuple[Bundle, ...]]


def ids(bundles: Sequence[Bundle]) -> list[str]:
    return sorted(trial.id for bundle in bundles for trial in bundle.trials)


@pytest.fixture
def bundles(planned: Planned) -> tuple[Bundle, ...]:
    """A bundle of two models and one of four, each with two scorers."""
    short = planned(datasets="toy-data/dark", models="toy-mean,toy-trained", **SCORED)
    long = planned(datasets="toy-data/light", models="toy-mean,toy-trained", seeds=2, **SCORED)
    return *short, *long


SCORED = {"scorers": "toy-map,toy-fitted"}


def test_the_longest_comes_first_and_what_ended_its_process_last(
    bundles: tuple[Bundle, ...],
) -> None:
    from dataclasses import replace

    short, long = bundles
    assert estimate(long) > estimate(short)
    assert schedule([short, long], 2) == [long, short]
    suspect = replace(long, suspect=True)
    assert schedule([suspect, short], 2) == [short, suspect]


@pytest.mark.parametrize(("workers", "parts"), [(1, 2), (2, 2), (3, 3), (5, 5), (6, 6), (100, 6)])
def test_bundles_are_split_by_model_as_long_as_workers_would_be_idle(
    bundles: tuple[Bundle, ...], workers: int, parts: int
) -> None:
    made = schedule(bundles, workers)
    assert len(made) == parts
    assert ids(made) == ids(bundles)
    # The scorers of a model are never apart, since they share its fit.
    assert sum(len(fits(part)) for part in made) == 6
    assert {len(part.trials) % 2 for part in made} == {0}


def test_singles_have_one_model_each(bundles: tuple[Bundle, ...]) -> None:
    made = list(singles(bundles[1]))
    assert [len(part.trials) for part in made] == [2] * 4
    assert ids(made) == ids(bundles[1:])
