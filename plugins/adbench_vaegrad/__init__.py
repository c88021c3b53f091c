"""VAE-grad (Dehaene et al., ICLR 2020): an image is moved step by step to what a VAE can make."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_vaegrad.model import VAEGrad

    return [VAEGrad]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for suffix, preset, what in (("", "paper", "objects"), ("-textures", "textures", "textures")):
        yield Recipe(
            f"vae-grad{suffix}",
            f"VAE-grad with the settings for {what}, scored by SSIM.",
            {
                "models": [f"vae-grad:preset={preset}"],
                "scorers": ["residual-ssim"],
                "preprocessors": ["none"],
            },
        )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
