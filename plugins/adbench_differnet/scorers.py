"""The size of latents, as DifferNet and CS-Flow use it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from adbench_harness.nn.levels import located, overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import Latents, Outputs, Scorer, Scores


class LatentNorm(Scorer):
    """The image score is the mean of z^2 / 2 over all values of all levels.

    The map is the mean of z^2 / 2 over a cell's channels, averaged over the levels. If no level has
    more than one cell, there is no map.
    """

    name: ClassVar[str] = "latent-norm"
    summary: ClassVar[str] = "Mean of z^2 / 2 over a flow's latents (DifferNet, CS-Flow)."
    paper: ClassVar[str | None] = (
        "Rudolph et al., Same Same But DifferNet: Semi-Supervised Defect Detection with "
        "Normalizing Flows, WACV 2021"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({Latents})

    def __init__(self, *, sigma: Sigma = 0) -> None:
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        levels = outputs[Latents].levels
        image = torch.cat([level.values.flatten(1) for level in levels], 1).square().mean(1) / 2
        if not located(levels):
            return Scores(image=image)
        cells = [replace(level, values=level.values.square().mean(-1) / 2) for level in levels]
        smooth = gaussian_blur(overlay(cells, outputs.input_size), self.sigma)
        return Scores(image=image, map=smooth)
