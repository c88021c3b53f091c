"""The interval of a share beside scipy's, and how often it holds the true one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from adbench_harness.statistics import proportion


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_it_is_wilsons(count: int, share: float, confidence: float) -> None:
    found = round(share * count)
    low, high = proportion.interval(found / count, count, confidence)
    expected = binomtest(found, count).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= found / count <= high <= 1


def test_it_holds_the_true_share_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for share, count in ((0.1, 60), (0.5, 30), (0.95, 120)):
        found = rng.binomial(count, share, 4000) / count
        ends = np.array([proportion.interval(one, count) for one in found])
        held = np.mean((ends[:, 0] <= share) & (share <= ends[:, 1]))
        assert held == pytest.approx(0.95, abs=0.02)


def test_of_none_nothing_is_known() -> None:
    assert all(math.isnan(end) for end in proportion.interval(math.nan, 0))
