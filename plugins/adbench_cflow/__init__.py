"""CFLOW-AD (Gudovskiy et al., WACV 2022): flows of feature vectors, given their positions."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer

SIZES = {
    512: "bottle carpet grid leather screw tile toothbrush wood zipper",
    256: "cable capsule hazelnut metal_nut pill",
    128: "transistor",
}
"""The input in px of each category of MVTec AD."""


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_cflow.model import CFlow

    return [CFlow]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_cflow.scorers import FlowLikelihood

    return [FlowLikelihood]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for size, categories in SIZES.items():
        yield Recipe(
            f"cflow-{size}",
            f"CFLOW-AD on a Wide ResNet-50-2, for the categories with {size} px in the paper.",
            {
                "datasets": [f"mvtec_ad/{category}" for category in categories.split()],
                "models": [f"cflow:preset=paper:resize={size}"],
                "backbone": "wide_resnet50_2",
                "scorers": ["flow-likelihood:maximum=[train, test]"],
                "preprocessors": ["none"],
            },
        )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
