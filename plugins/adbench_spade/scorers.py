"""SPADE's image score: the mean distance to the nearest normal images."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import (
    AnomalyMap,
    ImageBank,
    ImageEmbeddings,
    Outputs,
    Scorer,
    Scores,
)


class ImageNeighbours(Scorer):
    """An image's mean distance to its nearest normal images; the map is the model's, smoothed."""

    name: ClassVar[str] = "image-knn"
    summary: ClassVar[str] = "Mean distance to the nearest normal images, and the model's own map."
    paper: ClassVar[str | None] = (
        "Cohen, Hoshen, Sub-Image Anomaly Detection with Deep Pyramid Correspondences, "
        "arXiv 2005.02357"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({ImageEmbeddings, ImageBank, AnomalyMap})

    def __init__(
        self,
        *,
        neighbours: Annotated[
            int, Field(ge=1, description="number of normal images, K; at most all of them")
        ] = 50,
        sigma: Sigma = 4,
    ) -> None:
        self.neighbours = neighbours
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        bank = outputs[ImageBank].values
        squares, _ = bank.search(outputs[ImageEmbeddings].values, self.neighbours)
        levels = overlay(outputs[AnomalyMap].levels, outputs.input_size)
        return Scores(image=squares.sqrt().mean(1), map=gaussian_blur(levels, self.sigma))
