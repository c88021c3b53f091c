"""Reverse Distillation (Deng and Li, CVPR 2022): a decoder rebuilds a teacher's features."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_rd4ad.model import ReverseDistillation

    return [ReverseDistillation]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "rd4ad",
        "Reverse Distillation with the paper's network, size and schedule.",
        {
            "models": ["rd4ad:preset=paper"],
            "backbone": "wide_resnet50_2",
            "scorers": ["map:sigma=4"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
