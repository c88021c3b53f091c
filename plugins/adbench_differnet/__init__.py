"""DifferNet (Rudolph et al., WACV 2021): a flow of an image's pooled features."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_differnet.model import DifferNet

    return [DifferNet]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_differnet.scorers import LatentNorm

    return [LatentNorm]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "differnet",
        "DifferNet on an AlexNet at 448 px, 64 rotations, 192 epochs, as in the paper.",
        {
            "models": ["differnet:preset=paper"],
            "backbone": "alexnet",
            "scorers": ["latent-norm"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
