"""The share of defective images found at five false alarms in a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adbench_harness.types import Metric

if TYPE_CHECKING:
    from adbench_harness.evaluation import Evaluation


def detected_at_5(evaluation: Evaluation) -> float:
    """The ROC curve at a false positive rate of 0.05."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(evaluation.labels, evaluation.scores, drop_intermediate=False)
    return float(np.interp(0.05, false, true))


DETECTED_AT_5 = Metric(
    "detected_at_5",
    "Share of defective images found at 5% false alarms",
    detected_at_5,
    "image",
    chance=lambda _: 0.05,
    title="detected at 5%",
)
