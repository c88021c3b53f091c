"""DeLong's interval beside its definition over all pairs, and how often it holds the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from adbench_harness.statistics import delong


def by_pairs(scores: NDArray[Any], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Equations 4 to 6 of DeLong et al. (1988), a pair at a time."""
    pairs = [
        [1.0 if x > y else 0.5 if x == y else 0.0 for y in scores[~labels]] for x in scores[labels]
    ]
    kernel = np.array(pairs)
    area = kernel.mean()
    rows, columns = kernel.mean(1), kernel.mean(0)
    s10 = ((rows - area) ** 2).sum() / (len(rows) - 1)
    s01 = ((columns - area) ** 2).sum() / (len(columns) - 1)
    reach = norm.ppf(0.975) * np.sqrt(s10 / len(rows) + s01 / len(columns))
    return max(0.0, area - reach), min(1.0, area + reach)


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=12),
    st.lists(st.integers(0, 6), min_size=2, max_size=12),
)
def test_it_is_the_definition_ties_included(positives: list[int], negatives: list[int]) -> None:
    scores = np.array(positives + negatives, np.float32)
    labels = np.arange(len(scores)) < len(positives)
    assert delong.interval(scores, labels) == pytest.approx(by_pairs(scores, labels), abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_no_order_and_no_monotone_map_changes_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=40), rng.permutation(np.arange(40) < 15)
    found = delong.interval(scores, labels)
    assert found[0] <= roc_auc_score(labels, scores) <= found[1]
    order = rng.permutation(40)
    assert delong.interval(scores[order], labels[order]) == pytest.approx(found)
    assert delong.interval(np.exp(scores), labels) == pytest.approx(found)
    low, high = delong.interval(-scores, labels)
    assert (1 - high, 1 - low) == pytest.approx(found)
    assert np.ptp(delong.interval(scores, labels, 0.5)) <= np.ptp(found)


@pytest.mark.parametrize("shift", [0.5, 1.2])
def test_19_of_20_hold_the_truth(shift: float) -> None:
    rng = np.random.default_rng(0)
    truth = norm.cdf(shift / math.sqrt(2))
    labels = np.arange(110) < 70
    draws = rng.normal(size=(2000, 110)) + shift * labels
    ends = np.array([delong.interval(scores, labels) for scores in draws])
    covered = np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    assert 0.93 < covered < 0.97


def test_what_has_no_variance_has_no_interval() -> None:
    scores = np.arange(4.0)
    for labels in ([False, False, False, True], [False] * 4, [True, True, True, False]):
        assert all(map(math.isnan, delong.interval(scores, np.array(labels))))
    assert delong.interval(scores, np.array([False, False, True, True])) == (1, 1)


@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.integers(-9, 9).map(float)))
def test_midranks_are_those_of_scipy_bit_for_bit(values: NDArray[np.float32]) -> None:
    assert np.array_equal(delong._midranks(values), rankdata(values))
