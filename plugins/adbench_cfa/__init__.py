"""CFA (Lee, Lee and Song, 2022): features adapted to a bank of mean normal features."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_cfa.model import CFA

    return [CFA]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_cfa.scorers import Softmin

    return [Softmin]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    base = {"backbone": "wide_resnet50_2", "scorers": ["softmin"], "preprocessors": ["none"]}
    return [
        Recipe(
            "cfa",
            "CFA with resized and cropped images (R+C in the authors' table).",
            base | {"models": ["cfa:preset=paper"], "evaluation": {"border": "crop"}},
        ),
        Recipe(
            "cfa-r",
            "CFA with images resized to 224 px (R in the authors' table).",
            base | {"models": ["cfa:preset=paper:resize=224:crop=none"]},
        ),
    ]


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
