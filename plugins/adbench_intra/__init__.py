"""InTra (Pirnay and Chai, 2021): patches are hidden and inpainted from the patches around them."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_intra.model import InTra

    return [InTra]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_intra.scorer import CentredMSGMS

    return [CentredMSGMS]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "intra",
        "InTra with the settings of a re-implementation; the paper's are not known in full.",
        {
            "models": ["intra:preset=paper"],
            "scorers": ["residual-msgms-centred"],
            "preprocessors": ["none"],
        },
    )
