"""A metric: the fraction of defective images that are found at 5% false positives."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from adbench_harness.hookspecs import hookimpl
from adbench_harness.evaluation import Evaluation
from adbench_harness.types import Metric
from sklearn.metrics import roc_curve

FALSE_ALARMS = 0.05


def detected(evaluation: Evaluation) -> float:
    """The ROC curve of the image scores at the false positive rate ``FALSE_ALARMS``."""
    false, true, _ = roc_curve(evaluation.labels, evaluation.scores, drop_intermediate=False)
    return float(np.interp(FALSE_ALARMS, false, true))


TEMPLATE = Metric(
    "template",
    "Fraction of defective images found at 5% false positives",
    detected,
    needs="image",
    chance=lambda _: FALSE_ALARMS,
    title="detected at 5%",
)


@hookimpl
def adbench_metrics() -> Iterable[Metric]:
    return [TEMPLATE]
