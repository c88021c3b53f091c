"""STFPM (Wang et al., BMVC 2021): a student learns a teacher's features of normal images."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_stfpm.model import STFPM

    return [STFPM]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "stfpm",
        "STFPM with the paper's network, size and schedule.",
        {
            "models": ["stfpm:preset=paper"],
            "backbone": "resnet18",
            "scorers": ["map"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
