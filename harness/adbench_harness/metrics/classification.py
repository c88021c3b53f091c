"""Metrics of defect classification; macro averages give every class the same weight.

Arguments are class indices [N]. The classes are those in the ground truth or the predictions. A
class without true or without predicted samples counts as 0 if its own metric is undefined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.integer[Any]]


def accuracy(predicted: Classes, true: Classes) -> float:
    """Fraction of samples whose class is predicted correctly."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(true, predicted))


def macro_recall(predicted: Classes, true: Classes) -> float:
    """Mean over classes of the fraction of each class that is found."""
    from sklearn.metrics import recall_score

    return float(recall_score(true, predicted, average="macro", zero_division=0))


def macro_precision(predicted: Classes, true: Classes) -> float:
    """Mean over classes of the fraction of each class's predictions that are correct."""
    from sklearn.metrics import precision_score

    return float(precision_score(true, predicted, average="macro", zero_division=0))


def macro_f1(predicted: Classes, true: Classes) -> float:
    """Mean over classes of the harmonic mean of each class's precision and recall."""
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="macro", zero_division=0))
