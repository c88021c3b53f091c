from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adbench_harness.leaderboard.frame import frame
from adbench_harness.report.comparison import MOST, front, ranked
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial
from adbench_harness.statistics import significance
from headings import columns

points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20)


@given(points)
def test_the_front_is_what_nothing_beats(pairs):
    values, costs = np.array(pairs, float).T
    on = front(values, costs)
    assert on.any()
    for i, (value, cost) in enumerate(pairs):
        beaten = any((v >= value and c <= cost) and (v > value or c < cost) for v, c in pairs)
        assert on[i] != beaten


def trials(values, flags=()):
    """A frame of methods by categories; nan is a category that a method lacks."""
    first = Trial(
        dataset=Choice("data", 1),
        category="",
        fingerprint="f" * 16,
        protocol="unsupervised",
        split_seed=0,
        preprocessors=(),
        augmenter=None,
        model=Choice("m", 1),
        scorer=Choice("s", 1),
        weights=(),
        seed=0,
        evaluation=EvaluationSettings(),
        metrics=(),
    )
    return frame(
        TrialResult(
            replace(first, model=Choice(f"m{i:02}", 1), category=f"c{j}", seed=seed),
            "ok",
            metrics={"image_auroc": value + 0.001 * seed},
            columns=columns(["image_auroc"]),
            provenance={"device": "cpu"},
            flags=tuple(flags.get(i, ())) if flags else (),
        )
        for i, row in enumerate(values)
        for j, value in enumerate(row)
        for seed in (0, 1)
        if not np.isnan(value)
    )


def test_mean_ranks_and_groups_are_those_of_the_tests():
    draw = np.random.default_rng(0)
    skill = np.array([0, 0.02, 0.3, 0.32])
    values = 0.4 + skill[:, None] + draw.normal(0, 0.02, (4, 12))
    ranks = ranked(trials(values), "image_auroc", higher_is_better=True)
    expected = stats.rankdata(-values, axis=0).mean(axis=1)
    order = np.argsort(expected)
    assert [name.split(" ")[0] for name in ranks.methods] == [f"m{i:02}" for i in order]
    assert ranks.mean == pytest.approx(expected[order])
    assert ranks.friedman == pytest.approx(significance.friedman(values))
    assert (ranks.blocks, ranks.needed) == (12, significance.needed(4))
    letters = {name.split(" ")[0]: ranks.letters(i) for i, name in enumerate(ranks.methods)}
    assert set(letters["m02"].split()).isdisjoint(letters["m00"].split())
    assert set(letters["m03"].split()).isdisjoint(letters["m01"].split())
    turned = ranked(trials(values), "image_auroc", higher_is_better=False)
    assert turned.methods == ranks.methods[::-1]


def test_who_cannot_be_compared_is_left_out_and_named():
    values = np.array([[0.9, 0.8], [0.7, 0.6], [0.5, np.nan], [0.99, 0.99]])
    ranks = ranked(
        trials(values, flags={3: ("test-selected",)}), "image_auroc", higher_is_better=True
    )
    assert [name.split(" ")[0] for name in ranks.methods] == ["m00", "m01"]
    assert [name.split(" ")[0] for name in ranks.left_out] == ["m02", "m03"]
    assert ranks.mean.tolist() == [1, 2]
    assert ranks.blocks < ranks.needed


def test_at_most_so_many_methods():
    values = np.linspace(0.1, 0.9, MOST + 3)[:, None] + np.zeros((1, 3))
    ranks = ranked(trials(values), "image_auroc", higher_is_better=True)
    assert len(ranks.methods) == MOST
    assert [name.split(" ")[0] for name in ranks.left_out] == ["m00", "m01", "m02"]  # the worst
    assert ranks.mean.tolist() == list(range(1, MOST + 1))


def test_nothing_to_compare():
    ranks = ranked(trials([[0.5, np.nan], [np.nan, 0.5]]), "image_auroc", higher_is_better=True)
    assert ranks.methods == ()
    assert len(ranks.left_out) == 2
