"""The metrics that every run reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from adbench_harness.evaluation import Evaluation
from adbench_harness.metrics import classification
from adbench_harness.results import threshold
from adbench_harness.statistics import delong, proportion
from adbench_harness.types import Metric


def _half(_: float) -> float:
    return 0.5


def _prevalence(share: float) -> float:
    return share


def _all_positive_f1(share: float) -> float:
    return 2 * share / (1 + share)


def _image_auroc_interval(evaluation: Evaluation) -> tuple[float, float]:
    assert evaluation.scores is not None
    known = evaluation.labels >= 0
    return delong.interval(evaluation.scores[known], evaluation.labels[known] == 1)


def _found(evaluation: Evaluation) -> tuple[float, int]:
    """The share of anomalous images above the threshold, and the number of anomalous images.

    The threshold is the lowest held-out score that at most 1% of the held-out scores exceed; of
    fewer than 100 scores, it is the highest.
    """
    assert evaluation.scores is not None
    assert evaluation.validation is not None
    return threshold.recall(evaluation.scores, evaluation.labels, evaluation.validation, 0.01)


def _classes(metric: Callable[..., float]) -> Callable[[Evaluation], float]:
    return lambda evaluation: metric(evaluation.predicted, evaluation.true)


METRICS: Final = (
    Metric(
        "image_auroc",
        "Area under the ROC curve over images",
        lambda evaluation: evaluation.images.auroc(),
        "image",
        chance=_half,
        interval=_image_auroc_interval,
        title="image AUROC",
    ),
    Metric(
        "image_ap",
        "Average precision over images",
        lambda evaluation: evaluation.images.average_precision(),
        "image",
        chance=_prevalence,
        title="image AP",
    ),
    Metric(
        "image_f1",
        "Best F1 of images over all thresholds",
        lambda evaluation: evaluation.images.f1_max(),
        "image",
        chance=_all_positive_f1,
        title="image F1",
    ),
    Metric(
        "recall_at_1%",
        "Share of anomalous images above the score that 1% of held-out normal images exceed",
        lambda evaluation: _found(evaluation)[0],
        "validation",
        interval=lambda evaluation: proportion.interval(*_found(evaluation)),
        title="recall at 1%",
        default=False,
    ),
    Metric(
        "pixel_auroc",
        "Area under the ROC curve over the pixels of all test images",
        lambda evaluation: evaluation.pixels.auroc(),
        "map",
        chance=_half,
        title="pixel AUROC",
    ),
    Metric(
        "pixel_ap",
        "Average precision over the pixels of all test images",
        lambda evaluation: evaluation.pixels.average_precision(),
        "map",
        chance=_prevalence,
        title="pixel AP",
    ),
    Metric(
        "pixel_f1",
        "Best F1 of pixels over all thresholds",
        lambda evaluation: evaluation.pixels.f1_max(),
        "map",
        chance=_all_positive_f1,
        title="pixel F1",
    ),
    Metric(
        "aupro",
        "Mean per-region overlap, integrated up to a false positive rate of 0.3",
        lambda evaluation: evaluation.pixels.aupro(0.3),
        "map",
        chance=lambda _: 0.15,
        title="AUPRO",
    ),
    Metric(
        "aupro_005",
        "Mean per-region overlap, integrated up to a false positive rate of 0.05",
        lambda evaluation: evaluation.pixels.aupro(0.05),
        "map",
        chance=lambda _: 0.025,
        title="AUPRO 5%",
    ),
    Metric(
        "accuracy",
        "Fraction of defects that are classified correctly",
        _classes(classification.accuracy),
        "classes",
    ),
    Metric(
        "macro_recall",
        "Mean recall of the classes",
        _classes(classification.macro_recall),
        "classes",
        title="macro recall",
    ),
    Metric(
        "macro_precision",
        "Mean precision of the classes",
        _classes(classification.macro_precision),
        "classes",
        title="macro precision",
    ),
    Metric(
        "macro_f1",
        "Mean F1 of the classes",
        _classes(classification.macro_f1),
        "classes",
        title="macro F1",
    ),
)
