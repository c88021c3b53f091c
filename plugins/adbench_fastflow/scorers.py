"""The probability of latents, as FastFlow defines it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from adbench_harness.nn.levels import located, overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import Latents, Outputs, Scorer, Scores


class LatentProbability(Scorer):
    """A cell's score is -exp(-mean z^2 / 2) over its channels; the levels' maps are averaged.

    The image score is the map's maximum. If no level has more than one cell, there is no map.
    """

    name: ClassVar[str] = "latent-probability"
    summary: ClassVar[str] = "Negative probability of a flow's latents, per cell (FastFlow)."
    paper: ClassVar[str | None] = (
        "Yu et al., FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing "
        "Flows, arXiv 2111.07677"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({Latents})

    def __init__(self, *, sigma: Sigma = 0) -> None:
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        levels = [
            replace(level, values=-(-0.5 * level.values.square().mean(-1)).exp())
            for level in outputs[Latents].levels
        ]
        smooth = gaussian_blur(overlay(levels, outputs.input_size), self.sigma)
        return Scores(image=smooth.flatten(1).amax(1), map=smooth if located(levels) else None)
