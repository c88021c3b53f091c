"""AST (Rudolph et al., WACV 2023): a student imitates a normalizing flow."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_ast.model import AST

    return [AST]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    yield Recipe(
        "ast",
        "AST on an EfficientNet-B5 at 768 px, 72 epochs for each network, as in the paper.",
        {
            "models": ["ast:preset=paper"],
            "backbone": "efficientnet_b5",
            "scorers": ["map:pool=[mean, max]"],
            "preprocessors": ["none"],
        },
    )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
