"""Code shared by scorers that compare patches with a memory bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings, Scores

Distance = Annotated[Literal["euclidean", "squared"], "distance between patch and bank vector"]
Sigma = Annotated[float, Field(ge=0, description="Gaussian smoothing of the map in input px")]


class MatchedPatches:
    """The Q = B x h x w patches of a level, each matched with its nearest bank vector.

    ``distances`` float32 [Q] are the distances to the matches, ``matches`` int64 [Q] their indices
    in ``bank``.
    """

    def __init__(self, level: Level, bank: Neighbours, distance: Distance) -> None:
        self.level = level
        self.bank = bank
        self.distance = distance
        self.embeddings = level.values.flatten(0, 2)
        squared, matches = bank.search(self.embeddings, 1)
        self.distances, self.matches = self._measured(squared[:, 0]), matches[:, 0]

    def worst(self, scores: Tensor) -> Tensor:
        """Index [B] of each image's patch with the highest of ``scores`` [Q]."""
        grid = self.grid(scores)
        if self.level.valid is not None:
            grid = grid.masked_fill(~self.level.valid, -torch.inf)
        images, height, width = grid.shape
        starts = torch.arange(images, device=grid.device) * height * width
        return starts + grid.flatten(1).argmax(1)

    def grid(self, scores: Tensor) -> Tensor:
        """``scores`` [Q] as [B, h, w]."""
        return scores.view(self.level.values.shape[:3])

    def around_match(self, count: int, patches: Tensor | slice = slice(None)) -> Tensor:
        """Distances [P, b] from ``patches`` to the ``count`` bank vectors around their matches.

        The match itself is one of them; b is ``count`` or, if smaller, the bank's length.
        """
        embeddings = self.embeddings[patches]
        around = self.bank.neighbours_of_bank(self.matches[patches], count)
        # One neighbour at a time: [P, b, D] would not fit in memory for a batch of large grids.
        squared = [(embeddings - self.bank.bank[column]).square().sum(1) for column in around.T]
        return self._measured(torch.stack(squared, 1))

    def around_patch(self, count: int, patches: Tensor) -> Tensor:
        """Distances [P, b] from ``patches`` to the bank vectors nearest to them, ascending."""
        squared, _ = self.bank.search(self.embeddings[patches], count)
        return self._measured(squared)

    def _measured(self, squared: Tensor) -> Tensor:
        return squared if self.distance == "squared" else squared.sqrt()


def hcw_00_weighted(patches: MatchedPatches, neighbours: int) -> Tensor:
    """Image scores [B], weighted as in the re-implementation hcw-00/PatchCore_anomaly_detection.

    The score is the worst patch's distance times 1 - max softmax over the distances to its own
    nearest bank vectors. This leaves out the farthest of them; the paper's equation 7 leaves out
    the match.
    """
    worst = patches.worst(patches.distances)
    around = patches.around_patch(neighbours, worst)
    if around.shape[1] == 1:
        return patches.distances[worst]
    # 1 - max softmax, computed without the subtraction, which would round to zero.
    factor = (around[:, :-1].logsumexp(1) - around.logsumexp(1)).exp()
    return factor * patches.distances[worst]


def score_patches(
    outputs: Outputs,
    score_level: Callable[[Level, Neighbours], tuple[Tensor, Tensor]],
    sigma: float,
) -> Scores:
    """Scores from ``score_level``: patch scores [B, h, w] and image scores [B] of one level.

    The map is the mean of the levels' maps, smoothed by ``sigma`` input px; the image score is
    the mean of the levels' image scores, as in the PatchCore authors' ensemble.
    """
    levels, images = [], []
    for level, bank in zip(outputs[PatchEmbeddings].levels, outputs[PatchBank].levels, strict=True):
        grid, image = score_level(level, bank)
        levels.append(replace(level, values=grid))
        images.append(image)
    merged = overlay(levels, outputs.input_size)
    return Scores(image=torch.stack(images).mean(0), map=gaussian_blur(merged, sigma))
