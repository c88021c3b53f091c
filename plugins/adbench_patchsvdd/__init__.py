"""Patch SVDD (Yi and Yoon, ACCV 2020): self-supervised features of patches of two sizes."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_patchsvdd.model import PatchSVDD

    return [PatchSVDD]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_patchsvdd.scorers import PatchProduct

    return [PatchProduct]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "patchsvdd",
        "Patch SVDD with the paper's sizes and schedule.",
        {
            "models": ["patchsvdd:preset=paper"],
            "scorers": ["patch-product"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
