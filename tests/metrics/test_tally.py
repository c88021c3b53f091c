from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench_harness.metrics.tally import Tally, keys, sort

FLOATS = st.integers(-9, 9).map(float) | st.sampled_from([-0.0, 1e-30, -1e30, 1e30, 0.1])


@given(st.lists(FLOATS, min_size=1, max_size=40), st.sampled_from([np.float32, np.float64]))
def test_keys_are_in_the_order_of_the_scores(values: list[float], dtype: type) -> None:
    scores = np.array(values, dtype)
    found = keys(scores)
    assert found.itemsize == scores.itemsize
    order = np.argsort(scores, kind="stable")
    for one, other in pairwise(order):
        assert (found[one] < found[other]) == (scores[one] < scores[other])
        assert (found[one] == found[other]) == (scores[one] == scores[other])


@given(
    st.lists(FLOATS, min_size=1, max_size=20),
    st.lists(st.lists(FLOATS, max_size=60), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_counts_are_those_of_comparing_each_score_with_each_threshold(
    limits: list[float], images: list[list[float]], threads: int
) -> None:
    thresholds = np.unique(np.array(limits, np.float32) + np.float32(0))
    scores = [np.array(image, np.float32) for image in images]
    counts = Tally(keys(thresholds)).count(scores, threads)
    every = np.concatenate(scores)
    below = [(every < limit).sum() for limit in thresholds]
    at = [(every == limit).sum() for limit in thresholds]
    assert counts[1::2].tolist() == at
    assert np.cumsum(counts)[0:-1:2].tolist() == below
    assert counts.sum() == len(every)


@pytest.mark.parametrize("width", [np.float32, np.float64])
@given(values=st.lists(st.sampled_from([-np.pi, -1.0, -0.0, 0.0, 0.1, 3e38])))
def test_equal_keys_are_sorted_in_their_order(width: type, values: list[float]) -> None:
    found = keys(np.array(values, width))
    ordered, order = sort(found)
    assert order.tolist() == np.argsort(found, kind="stable").tolist()
    assert ordered.tolist() == sorted(found.tolist())
    assert ordered.dtype == found.dtype


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_array_with_a_score_that_is_not_finite_is_named(value: float) -> None:
    scores = [np.zeros(5, np.float32), np.array([0, value], np.float32)]
    with pytest.raises(ValueError, match="scores 1 contain a value that is not finite"):
        Tally(keys(np.zeros(1, np.float32))).count(scores, 1)
