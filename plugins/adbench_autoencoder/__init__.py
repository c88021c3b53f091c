"""L2-AE and SSIM-AE (Bergmann et al., 2019): auto-encoders that can make only normal images."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_autoencoder.model import L2AE, SSIMAE

    return [L2AE, SSIMAE]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for model, scorer in (("l2-ae", "residual-l2"), ("ssim-ae", "residual-ssim")):
        for suffix, preset, what in (
            ("", "paper", "objects"),
            ("-textures", "textures", "textures"),
        ):
            yield Recipe(
                f"{model}{suffix}",
                f"{model.upper()} with the settings for {what}, scored by the loss it trains on.",
                {
                    "models": [f"{model}:preset={preset}"],
                    "scorers": [scorer],
                    "preprocessors": ["none"],
                },
            )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
