"""Patch AE (Cui, Liu and Lian, 2023): features trained to reconstruct their own patch."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported

requires = ("cutpaste", "patchcore")


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_patchae.model import PatchAE

    return [PatchAE]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "patchae",
        "Patch AE with the paper's network, trained on normal and on cut-and-pasted images.",
        {
            "models": ["patchae:preset=paper"],
            "backbone": "wide_resnet101_2",
            "augmenters": ["cutpaste"],
            "scorers": ["nn"],
            "preprocessors": ["none"],
            "evaluation": {"border": "crop"},
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
