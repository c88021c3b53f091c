"""CS-Flow (Rudolph et al., WACV 2022): a flow across three scales of the image."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported

requires = ("differnet",)


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_csflow.model import CSFlow

    return [CSFlow]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "csflow",
        "CS-Flow on an EfficientNet-B5 at 768, 384 and 192 px, 240 epochs, as in the paper.",
        {
            "models": ["csflow:preset=paper"],
            "backbone": "efficientnet_b5",
            "scorers": ["latent-norm"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
