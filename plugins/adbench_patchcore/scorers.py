"""PatchCore's anomaly scores: the distance to the nearest bank vector, plain and re-weighted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
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

PAPER = "Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022"


class NearestNeighbour(Scorer):
    """A patch's score is its distance to the nearest bank vector, an image's its worst patch's."""

    name: ClassVar[str] = "nn"
    summary: ClassVar[str] = "Distance to the nearest bank vector; image score: the worst patch's."
    paper: ClassVar[str | None] = PAPER
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})

    def __init__(
        self,
        *,
        distance: Distance = "euclidean",
        sigma: Sigma = 4,
        image: Annotated[
            Literal["patch", "map"], "the image score: its worst patch's, or the map's maximum"
        ] = "patch",
    ) -> None:
        self.distance = distance
        self.sigma = sigma
        self.image = image

    def score(self, outputs: Outputs) -> Scores:
        scores = score_patches(outputs, self._score_level, self.sigma)
        if self.image == "map":
            assert scores.map is not None
            scores = replace(scores, image=scores.map.flatten(1).amax(1))
        return scores

    def _score_level(self, level: Level, bank: Neighbours) -> tuple[Tensor, Tensor]:
        patches = MatchedPatches(level, bank, self.distance)
        worst = patches.worst(patches.distances)  # m_test,* of eq. 6
        return patches.grid(patches.distances), patches.distances[worst]


class ReweightedNearestNeighbour(Scorer):
    """``nn`` with an image score that is weighted by how rare the match is among its neighbours.

    ``weighting`` "hcw-00" is that of a widely used re-implementation, which differs from the
    paper's; see ``hcw_00_weighted``.
    """

    name: ClassVar[str] = "nn-reweighted"
    summary: ClassVar[str] = "Nearest-neighbour distance with a re-weighted image score (eq. 7)."
    paper: ClassVar[str | None] = PAPER
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})

    def __init__(
        self,
        *,
        neighbours: Annotated[
            int, Field(ge=2, description="number of bank vectors for the weight, b")
        ] = 9,
        weighting: Annotated[
            Literal["paper", "hcw-00"], "equation 7, or the weight of the re-implementation hcw-00"
        ] = "paper",
        distance: Distance = "euclidean",
        sigma: Sigma = 4,
    ) -> None:
        self.neighbours = neighbours
        self.weighting = weighting
        self.distance = distance
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        return score_patches(outputs, self._score_level, self.sigma)

    def _score_level(self, level: Level, bank: Neighbours) -> tuple[Tensor, Tensor]:
        patches = MatchedPatches(level, bank, self.distance)
        return patches.grid(patches.distances), self._weighted(patches)

    def _weighted(self, patches: MatchedPatches) -> Tensor:
        if self.weighting == "hcw-00":
            return hcw_00_weighted(patches, self.neighbours)
        worst = patches.worst(patches.distances)
        distance = patches.distances[worst]  # s* of eq. 6
        around = patches.around_match(self.neighbours, worst)  # ||m_test,* - m||, m in N_b(m*)
        if around.shape[1] == 1:  # in a bank of one vector there are no neighbours
            return distance
        return -torch.expm1(distance - around.logsumexp(1)) * distance  # eq. 7
