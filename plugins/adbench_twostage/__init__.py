"""Two-stage segmentation of Perlin and superpixel pseudo-anomalies (Shah and Kim, 2022)."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Augmenter, Dataset, Model, Recipe, Reported


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    from adbench_twostage.dtd import DescribableTextures

    return [DescribableTextures]


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    from adbench_twostage.augmenters import Perlin, PerlinSuperpixel, Superpixel

    return [Perlin, Superpixel, PerlinSuperpixel]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_twostage.model import Stage1, TwoStage

    return [Stage1, TwoStage]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    base = {
        "augmenters": ["perlin-superpixel:source=dtd"],
        "scorers": ["map:pool=mean-pooled-max"],
        "preprocessors": ["none"],
    }
    return [
        Recipe(
            "twostage",
            "The paper's sizes and schedule, with textures from DTD.",
            base | {"models": ["twostage:preset=paper"]},
        ),
        Recipe(
            "twostage-code",
            "As in the authors' code: no SSIM in the second stage's loss.",
            base | {"models": ["twostage:preset=paper:stage2_loss=mse"]},
        ),
        Recipe(
            "twostage-fast",
            "The paper's scorer and both pseudo-anomalies at a small size, without a download.",
            base
            | {
                "augmenters": ["perlin", "superpixel", "perlin-superpixel"],
                "models": ["twostage-stage1", "twostage"],
            },
        ),
    ]


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
