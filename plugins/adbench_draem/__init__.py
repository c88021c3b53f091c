"""DRAEM (Zavrtanik et al., ICCV 2021): segments what differs from its reconstruction."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Augmenter, Model, Recipe, Reported

requires = ("twostage",)  # its data set dtd


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    from adbench_draem.augmenter import PerlinDRAEM

    return [PerlinDRAEM]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_draem.model import DRAEM

    return [DRAEM]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    base = {
        "augmenters": ["perlin-draem:source=dtd"],
        "scorers": ["map:pool=mean-pooled-max"],
        "preprocessors": ["none"],
    }
    return [
        Recipe(
            "draem",
            "DRAEM with the paper's networks, size and schedule, and textures from DTD.",
            base | {"models": ["draem:preset=paper"]},
        ),
        Recipe(
            "draem-sspcab",
            "The same, with an SSPCAB in the reconstructing network.",
            base | {"models": ["draem:preset=paper:sspcab=true"]},
        ),
    ]


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
