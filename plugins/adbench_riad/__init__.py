"""RIAD (Zavrtanik et al., Pattern Recognition 2021): regions are removed and inpainted."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_riad.model import RIAD

    return [RIAD]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "riad",
        "RIAD with the paper's cells, losses and schedule, scored by MSGMS.",
        {
            "models": ["riad:preset=paper"],
            "scorers": ["residual-msgms"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
