from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_curve

from adbench_harness.results import threshold

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40)


@given(SCORES, st.floats(0, 0.99))
def test_at_most_the_rate_exceeds_and_no_lower_score_would_do(held_out, rate):
    values = np.array(held_out)
    level = threshold.of_false_alarms(values, rate)
    assert np.mean(values > level) <= rate + 1e-9
    lower = values[values < level]
    if len(lower):
        assert np.mean(values > lower.max()) > rate - 1e-9


@pytest.mark.parametrize(("rate", "level"), [(0.01, 99), (0.07, 93), (0.1, 90), (0.5, 50)])
def test_of_a_hundred_scores(rate, level):
    assert threshold.of_false_alarms(np.arange(1.0, 101.0), rate) == level


def test_few_scores_give_the_highest():
    assert threshold.of_false_alarms(np.array([3.0, 7.0, 5.0]), 0.01) == 7


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_has_a_higher_f1(pairs):
    scores = np.array([float(score) for score, _ in pairs])
    labels = np.array([int(label) for _, label in pairs])
    if not labels.any():
        return
    level = threshold.of_best_f1(scores, labels)
    precision, recall, _ = precision_recall_curve(labels, scores)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert f1_score(labels, scores > level) == pytest.approx(best)
