"""SPADE (Cohen and Hoshen, 2020): nearest images, and nearest features among their positions."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_spade.model import SPADE

    return [SPADE]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_spade.scorers import ImageNeighbours

    return [ImageNeighbours]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for name, count, source in (
        ("spade", 50, "as in the paper"),
        ("spade-5", 5, "as in the re-implementation byungjae89/SPADE-pytorch"),
    ):
        yield Recipe(
            name,
            f"SPADE with the {count} nearest images, {source}.",
            {
                "models": [f"spade:neighbours={count}"],
                "backbone": "wide_resnet50_2",
                "scorers": [f"image-knn:neighbours={count}"],
                "preprocessors": ["none"],
                "evaluation": {"border": "crop"},
            },
        )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
