"""The metrics of MVTec LOCO AD, for any data set with these two kinds of anomalies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from adbench_harness.types import Metric
from adbench_loco.spro import spro

if TYPE_CHECKING:
    from adbench_harness.evaluation import Evaluation

Measure = Callable[["Evaluation"], float]

DEFECTS: Final = {"logical": "logical_anomalies", "structural": "structural_anomalies"}
# One function for each kind, so that ``Evaluation.once`` computes each result only once.
_BESIDE_NORMAL = {kind: methodcaller("of_defects", defect) for kind, defect in DEFECTS.items()}


def _auroc(evaluation: Evaluation) -> float:
    return evaluation.images.auroc()


def _by_kind(name: str, title: str, summary: str, measure: Measure, **given: Any) -> list[Metric]:
    """``measure`` over the normal images and those of one kind, for each kind, and the mean."""

    def among(kind: str, evaluation: Evaluation) -> float:
        return measure(evaluation.once(_BESIDE_NORMAL[kind]))

    def mean(evaluation: Evaluation) -> float:
        return float(np.mean([among(kind, evaluation) for kind in DEFECTS]))

    return [
        *(
            Metric(
                f"{name}_{kind}",
                f"{summary} over normal images and those with {kind} anomalies",
                partial(among, kind),
                title=f"{title} {kind}",
                defects=(defect,),
                **given,
            )
            for kind, defect in DEFECTS.items()
        ),
        Metric(
            f"{name}_mean",
            f"Mean of {name}_logical and {name}_structural",
            mean,
            title=f"{title} mean",
            defects=tuple(DEFECTS.values()),
            **given,
        ),
    ]


SPRO: Final = Metric(
    "spro",
    "Mean saturated per-region overlap, integrated up to a false positive rate of 0.3",
    lambda evaluation: spro(evaluation, 0.3),
    "regions",
    chance=lambda _: 0.15,
    title="sPRO",
)
SPRO_005: Final = Metric(
    "spro_005",
    "Mean saturated per-region overlap, integrated up to a false positive rate of 0.05",
    lambda evaluation: spro(evaluation, 0.05),
    "regions",
    chance=lambda _: 0.025,
    title="sPRO 5%",
)
METRICS: Final = (
    *_by_kind("auroc", "AUROC", "Image AUROC", _auroc, needs="image", chance=lambda _: 0.5),
    SPRO,
    SPRO_005,
    *_by_kind(
        *("spro_005", "sPRO 5%", "spro_005", SPRO_005.compute),
        needs="regions",
        chance=SPRO_005.chance,
    ),
)
