"""Patch-oriented insertion of pseudo-anomalies (Shah, Urmonov and Kim)."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Augmenter, Recipe

requires = ("twostage",)


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    from adbench_patchgrid.augmenter import PatchGrid

    return [PatchGrid]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "patchgrid",
        "The paper's input size and tiles, with the authors' earlier segmentation network.",
        {
            "augmenters": ["patchgrid"],
            "models": ["twostage-stage1:preset=paper:size=640"],
            "scorers": ["map:pool=mean-pooled-max"],
            "preprocessors": ["none"],
        },
    )
