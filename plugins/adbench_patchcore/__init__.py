"""PatchCore (Roth et al., CVPR 2022): a coreset of normal patches, and nearest-neighbour scores."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_patchcore.ensemble import Ensemble
    from adbench_patchcore.model import PatchCore

    return [PatchCore, Ensemble]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_patchcore.ensemble import EnsembleNearestNeighbour
    from adbench_patchcore.scorers import NearestNeighbour, ReweightedNearestNeighbour

    return [NearestNeighbour, ReweightedNearestNeighbour, EnsembleNearestNeighbour]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for percent in (1, 10, 25):
        model = f"patchcore:coreset_ratio={percent / 100}"
        yield Recipe(
            f"patchcore-{percent}%",
            f"PatchCore with {percent}% of the patches, as in the paper's tables 1 to 3.",
            {
                "models": [model],
                "backbone": "wide_resnet50_2",
                "scorers": ["nn"],
                "preprocessors": ["none"],
                "evaluation": {"border": "crop"},
            },
        )
    for name, extremes, whose in (
        ("patchcore-ensemble", "train", "each member's scores scaled on normal images"),
        ("patchcore-ensemble-test", "test", "scaled on all test images as by its authors"),
    ):
        yield Recipe(
            name,
            f"PatchCore on three backbones at 320 px, as in the paper's table 4, {whose}.",
            {
                "models": ["patchcore-ensemble"],
                "scorers": [f"nn-ensemble:extremes={extremes}:distance=squared"],
                "preprocessors": ["none"],
                "evaluation": {"border": "crop"},
            },
        )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
