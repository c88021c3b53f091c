"""CFA's anomaly score: the distance to the nearest bank vector, weighted by its certainty."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings, Scorer, Scores


class Softmin(Scorer):
    """A patch's distance to the nearest bank vector times that vector's softmin weight.

    The weight is taken among the ``neighbours`` nearest vectors. Several levels' maps are averaged.
    The image score is the map's maximum.
    """

    name: ClassVar[str] = "softmin"
    summary: ClassVar[str] = "Nearest-neighbour distance, weighted by softmin over the nearest few."
    paper: ClassVar[str | None] = (
        "Lee, Lee, Song, CFA: Coupled-hypersphere-based Feature Adaptation for Target-Oriented "
        "Anomaly Localization, IEEE Access 2022"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})

    def __init__(
        self,
        *,
        neighbours: Annotated[
            int, Field(ge=1, description="number of bank vectors for the weight, K")
        ] = 3,
        sigma: Sigma = 4,
    ) -> None:
        self.neighbours = neighbours
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        embeddings, banks = outputs[PatchEmbeddings].levels, outputs[PatchBank].levels
        levels = [
            replace(level, values=self._weighted(level, bank))
            for level, bank in zip(embeddings, banks, strict=True)
        ]
        smooth = gaussian_blur(overlay(levels, outputs.input_size), self.sigma)
        return Scores(image=smooth.flatten(1).amax(1), map=smooth)

    def _weighted(self, level: Level, bank: Neighbours) -> Tensor:
        """Scores [B, h, w] of the patches of a level."""
        squares, _ = bank.search(level.values.flatten(0, 2), self.neighbours)
        distances = squares.sqrt()
        scores = (-distances).softmax(1)[:, 0] * distances[:, 0]
        return scores.view(level.values.shape[:3])
