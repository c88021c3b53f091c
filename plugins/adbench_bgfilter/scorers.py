"""The distance to a patch's match, averaged over the match's neighbours."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.patch_scores import (
    Distance,
    MatchedPatches,
    Sigma,
    hcw_00_weighted,
    score_patches,
)
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings, Scorer, Scores


class NeighbourMean(Scorer):
    """A patch's score is its mean distance to the bank vectors around the one nearest to it.

    The paper does not change the image score: ``image`` "nearest" is the worst patch's distance to
    its match (scorer ``nn``); "hcw-00" is the score of the code that the paper builds on, weighted
    over the same number of neighbours; "mean" uses equation 3 as the image score.
    """

    name: ClassVar[str] = "knn-mean"
    summary: ClassVar[str] = "Mean distance to the bank vectors around the nearest one."
    paper: ClassVar[str | None] = (
        "Son, Kim, Kang, Lee, background-anomaly filtering and a kNN-averaged score for "
        "PatchCore, KAIST project report"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})

    def __init__(
        self,
        *,
        neighbours: Annotated[
            int, Field(ge=1, description="number of averaged bank vectors, with the match, b")
        ] = 9,
        image: Annotated[
            Literal["nearest", "hcw-00", "mean"], "where the image score comes from"
        ] = "nearest",
        distance: Distance = "euclidean",
        sigma: Sigma = 4,
    ) -> None:
        self.neighbours = neighbours
        self.image = image
        self.distance = distance
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        return score_patches(outputs, self._score_level, self.sigma)

    def _score_level(self, level: Level, bank: Neighbours) -> tuple[Tensor, Tensor]:
        patches = MatchedPatches(level, bank, self.distance)  # m* of eq. 3
        means = patches.around_match(self.neighbours).mean(1)  # eq. 4
        if self.image == "hcw-00":
            return patches.grid(means), hcw_00_weighted(patches, self.neighbours)
        scores = means if self.image == "mean" else patches.distances
        return patches.grid(means), scores[patches.worst(scores)]
