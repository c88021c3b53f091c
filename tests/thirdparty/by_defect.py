"""A third party's metrics: the image AUROC of each defect type, and its mean over the types."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from adbench_harness.evaluation import Evaluation
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import GOOD, Metric


def auroc_of(*defects: str) -> Metric:
    """One metric for images of some defect types beside the normal images."""

    def auroc(evaluation: Evaluation) -> float:
        return evaluation.of_defects(*defects).images.auroc()

    return Metric(
        f"auroc_{'_'.join(defects)}",
        f"Image AUROC of {' and '.join(defects)}",
        auroc,
        "image",
        chance=lambda _: 0.5,
        defects=defects,
    )


def mean(evaluation: Evaluation) -> float:
    """However many images show a type, each counts alike."""
    types = set(evaluation.defects) - {GOOD}
    return float(np.mean([auroc_of(defect).compute(evaluation) for defect in types]))


METRICS = (
    *(auroc_of(defect) for defect in ("scratch", "spot", "dent")),
    Metric("auroc_by_defect", "Mean of the defect types' image AUROCs", mean, "image"),
)


@hookimpl
def adbench_metrics() -> Iterable[Metric]:
    return METRICS
