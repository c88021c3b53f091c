"""The tests beside scipy's, a published worked example, and how often they raise a false alarm."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adbench_harness.statistics import delong, significance
from adbench_harness.statistics.delong import Placements

# Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006, table 6:
# AUC of C4.5, with m, with cf, with both, over 14 data sets. Its ranks tell the two 0.975 apart.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
).T


def test_friedman_is_the_published_example() -> None:
    """Page 12: F_F = 3.69, distributed with 3 and 39 degrees of freedom; it rejects at 0.05."""
    assert significance.friedman(DEMSAR) == pytest.approx(stats.f.sf(3.69, 3, 39), rel=0.02)


def test_wilcoxon_is_the_published_example() -> None:
    """Pages 7 and 8: C4.5 against C4.5+m over 14 data sets rejects at 0.05."""
    assert significance.wilcoxon(DEMSAR)[0, 1] < 0.05


@given(st.integers(0, 2**32 - 1), st.integers(3, 16))
def test_wilcoxon_is_scipys_where_nothing_ties(seed: int, blocks: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, blocks))
    p = significance.wilcoxon(values)
    for i, j in itertools.combinations(range(3), 2):
        expected = stats.wilcoxon(values[i], values[j], method="exact").pvalue
        assert p[i, j] == p[j, i] == pytest.approx(expected, abs=1e-12)


def test_equal_methods_are_not_decided() -> None:
    values = np.array([[0.9] * 8, [0.9] * 8, np.linspace(0.1, 0.8, 8)])
    p = significance.wilcoxon(values)
    assert math.isnan(p[0, 1])
    assert p[0, 2] == pytest.approx(2 / 2**8)
    assert math.isnan(significance.friedman(values[:2]))
    assert significance.friedman(np.ones((3, 8))) == 1


def test_the_same_order_in_every_block_is_certain() -> None:
    assert significance.friedman(np.arange(3.0)[:, None] + np.linspace(0, 0.5, 8)) == 0


def test_equal_values_are_ranked_but_count_for_neither_side() -> None:
    """Differences 0, 0, -1, -2, 3, 4 have the ranks 1.5, 1.5, 3, 4, 5, 6, and 7 is negative.

    Of the 16 sign patterns of the last four, 6 have at most 7 on the negative side, and as many on
    the positive side. If zeros were dropped before the ranks, 10 patterns would be as extreme.
    """
    values = np.array([[0.0] * 6, [0, 0, 1, 2, -3, -4]])
    assert significance.wilcoxon(values)[0, 1] == pytest.approx(12 / 16)


@pytest.mark.parametrize(("methods", "blocks"), [(2, 6), (3, 7), (4, 8), (10, 11)])
def test_fewer_blocks_than_needed_decide_nothing(methods: int, blocks: int) -> None:
    assert significance.needed(methods) == blocks
    for count, decided in ((blocks, True), (blocks - 1, False)):
        values = np.arange(methods)[:, None] + np.linspace(0, 0.5, count)  # always the same order
        p = significance.holm(significance.wilcoxon(values))
        assert bool(np.nanmin(p) < significance.LEVEL) is decided


def test_holm_is_the_textbooks() -> None:
    p = np.full((3, 3), math.nan)
    for (i, j), value in {(0, 1): 0.01, (0, 2): 0.04, (1, 2): 0.03}.items():
        p[i, j] = p[j, i] = value
    adjusted = significance.holm(p)
    assert adjusted[0, 1] == pytest.approx(0.03)
    assert adjusted[1, 2] == pytest.approx(0.06)
    assert adjusted[0, 2] == pytest.approx(0.06)  # no smaller than the one before
    p[1, 2] = p[2, 1] = math.nan
    adjusted = significance.holm(p)
    assert math.isnan(adjusted[1, 2])
    assert adjusted[0, 1] == pytest.approx(0.03)  # what cannot be decided counts


def test_ranks_and_bars_share_what_cannot_be_told_apart() -> None:
    values = np.array([0.9, 0.95, 0.8, 0.5])
    p = np.full((4, 4), 0.001)
    for i, j in ((0, 1), (0, 2)):
        p[i, j] = p[j, i] = 0.5
    assert significance.ranks(values, p).tolist() == [1, 1, 2, 4]
    p[1, 3] = p[3, 1] = p[2, 3] = p[3, 2] = math.nan  # undecided: by what they look like
    assert significance.ranks(values, p).tolist() == [1, 1, 2, 4]
    assert significance.ranks(np.array([0.9, 0.95, 0.5003, 0.5]), p).tolist() == [1, 1, 2, 3]
    p[1, 3] = p[3, 1] = p[2, 3] = p[3, 2] = 0.001
    order = np.argsort(-values)  # 1, 0, 2, 3: 1 and 2 differ
    assert significance.cliques(order, p) == [(0, 1), (1, 2)]
    p[1, 2] = p[2, 1] = 0.5
    assert significance.cliques(order, p) == [(0, 2)]  # no bar inside another


def methods(
    rng: np.random.Generator, labels: np.ndarray, count: int, shift: float
) -> list[Placements]:
    """Equally good methods whose scores of an image go together, as real ones' do."""
    common = rng.normal(size=len(labels))
    scores = common + rng.normal(size=(count, len(labels))) + shift * labels
    return [Placements.of(score, labels) for score in scores]


def test_paired_delong_raises_5_false_alarms_in_100_boards() -> None:
    rng, labels = np.random.default_rng(0), np.arange(110) < 70
    pairs, boards = 0.0, 0.0
    for _ in range(1000):
        p = delong.paired(methods(rng, labels, 4, 1.5))
        pairs += p[0, 1] < significance.LEVEL
        boards += bool(np.nanmin(significance.holm(p)) < significance.LEVEL)
    assert 35 < pairs < 65
    assert 20 < boards < 70  # Holm's bound is met, and not by deciding nothing


def test_wilcoxon_raises_at_most_5_false_alarms_in_100_boards() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        values = rng.normal(size=(4, 15)).round(1)  # with ties
        p = significance.holm(significance.wilcoxon(values))
        alarms += bool(np.nanmin(p) < significance.LEVEL)
    assert alarms < 32


def test_a_real_difference_is_found() -> None:
    rng, labels = np.random.default_rng(0), np.arange(110) < 70
    good, better = methods(rng, labels, 2, 1.0)
    best = methods(rng, labels, 1, 4.0)[0]
    p = delong.paired([good, better, best])
    assert p[0, 2] < 0.001
    assert p[0, 1] > 0.001


def test_delong_decides_nothing_where_it_degenerates() -> None:
    labels = np.arange(20) < 10
    rng = np.random.default_rng(0)
    perfect = Placements.of(labels.astype("f4"), labels)
    good = Placements.of(labels + rng.normal(size=20), labels)
    p = delong.paired([perfect, good, good])
    assert np.isnan(p[0]).all()
    assert np.isnan(np.diag(p)).all()
    assert p[1, 2] == 1  # they place every image alike
    few = Placements.of(np.arange(3.0), np.array([True, False, False]))
    assert np.isnan(delong.paired([few, few])).all()


def test_repeats_are_averaged_and_count_once() -> None:
    labels = np.arange(40) < 20
    rng = np.random.default_rng(0)
    one = Placements.of(labels + rng.normal(size=40), labels)
    other = Placements.of(labels + rng.normal(size=40), labels)
    many = Placements.mean([one] * 10)
    assert delong.covariance([many]) == pytest.approx(delong.covariance([one]))
    assert Placements.mean([one, other]).auroc == pytest.approx((one.auroc + other.auroc) / 2)
