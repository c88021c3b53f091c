"""AFPS (Ono and Meng): classifies defects with a small ViT on patches around the worst one."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Dataset, Model, Recipe, Reported

requires = ("padim",)


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    from adbench_afps.dataset import KolektorSDD2

    return [KolektorSDD2]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_afps.model import AFPS

    return [AFPS]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    detector = "padim(dimensions=64,resize=224,crop=none,aspect=squash)"
    for name, selection in (("afps", "afps"), ("afps-random", "random")):
        for patches in (10, 50, 100, 250):
            model = f"afps:detector={detector}:patches={patches}:selection={selection}:preset=paper"
            yield Recipe(
                f"{name}-{patches}",
                f"{patches} {'focused' if selection == 'afps' else 'random'} patches, table I.",
                {
                    "models": [model],
                    "backbone": "resnet50",
                    "scorers": ["softmax"],
                    "preprocessors": ["none"],
                    "protocol": "classification",
                },
            )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
