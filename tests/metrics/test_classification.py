from __future__ import annotations

import numpy as np
import pytest

from adbench_harness.metrics.classification import (
    accuracy,
    macro_f1,
    macro_precision,
    macro_recall,
)

# Of class 0, two of three are found; class 1 is never predicted; class 4 is never true.
TRUE = np.array([0, 0, 0, 1, 2, 2])
PREDICTED = np.array([0, 0, 4, 2, 2, 2])


def test_accuracy() -> None:
    assert accuracy(PREDICTED, TRUE) == pytest.approx(4 / 6)


def test_recall_averages_over_the_classes_present_in_either() -> None:
    assert macro_recall(PREDICTED, TRUE) == pytest.approx((2 / 3 + 0 + 1 + 0) / 4)


def test_precision_averages_over_the_classes_present_in_either() -> None:
    assert macro_precision(PREDICTED, TRUE) == pytest.approx((1 + 0 + 2 / 3 + 0) / 4)


def test_f1_is_averaged_and_not_computed_from_averages() -> None:
    assert macro_f1(PREDICTED, TRUE) == pytest.approx((4 / 5 + 0 + 4 / 5 + 0) / 4)


@pytest.mark.parametrize("metric", [accuracy, macro_recall, macro_precision, macro_f1])
def test_a_perfect_prediction_scores_one(metric) -> None:
    assert metric(TRUE, TRUE) == 1
