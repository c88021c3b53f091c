"""Mahalanobis distances of patches to the Gaussian of normal patches."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import Level, Outputs, PatchEmbeddings, PatchGaussian, Scorer, Scores


class Mahalanobis(Scorer):
    """A patch's Mahalanobis distance to its position's Gaussian; the image score is the map's max.

    Several levels' maps are averaged.
    """

    name: ClassVar[str] = "mahalanobis"
    summary: ClassVar[str] = "Mahalanobis distance to the Gaussian of normal patches."
    paper: ClassVar[str | None] = (
        "Defard et al., PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and "
        "Localization, ICPR 2020"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchGaussian})

    def __init__(self, *, sigma: Sigma = 4) -> None:
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        embeddings, gaussians = outputs[PatchEmbeddings].levels, outputs[PatchGaussian].levels
        levels = [
            replace(level, values=distances(level, *gaussian))
            for level, gaussian in zip(embeddings, gaussians, strict=True)
        ]
        smooth = gaussian_blur(overlay(levels, outputs.input_size), self.sigma)
        return Scores(image=smooth.flatten(1).amax(1), map=smooth)


def distances(level: Level, mean: Tensor, precision: Tensor) -> Tensor:
    """sqrt((x - mean)^T precision (x - mean)) of every patch x, [B, h, w] (eq. 1).

    ``mean`` [h, w, D] and ``precision`` [h, w, D, D] are per position, or [D] and [D, D] for all.
    """
    deviations = (level.values - mean).permute(1, 2, 0, 3)  # the batch of one position, [B, D]
    squares = (deviations @ precision * deviations).sum(-1)
    return squares.clamp(min=0).sqrt().permute(2, 0, 1)
