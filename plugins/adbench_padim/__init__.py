"""PaDiM (Defard et al., ICPR 2020): a Gaussian per position and Mahalanobis distances."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_padim.model import PaDiM

    return [PaDiM]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_padim.scorers import Mahalanobis

    return [Mahalanobis]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for name, backbone, dimensions in (
        ("padim-r18", "resnet18", 100),
        ("padim-wrn50", "wide_resnet50_2", 550),
    ):
        yield Recipe(
            name,
            f"PaDiM with {dimensions} dimensions of a {backbone}, as in the paper.",
            {
                "models": [f"padim:dimensions={dimensions}"],
                "backbone": backbone,
                "scorers": ["mahalanobis"],
                "preprocessors": ["none"],
                "evaluation": {"border": "crop"},
            },
        )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
