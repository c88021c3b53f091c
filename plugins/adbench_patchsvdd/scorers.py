"""Patch SVDD's map: patch scores spread over the pixels of their patches, and multiplied."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.patch_scores import Distance, MatchedPatches
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings, Scorer, Scores


class PatchProduct(Scorer):
    """A pixel's score is the product over the levels of the mean score of the patches around it.

    A patch's score is its distance to the nearest bank vector. The image score is the map's
    maximum.
    """

    name: ClassVar[str] = "patch-product"
    summary: ClassVar[str] = "Nearest-neighbour distances of overlapping patches, multiplied."
    paper: ClassVar[str | None] = (
        "Yi, Yoon, Patch SVDD: Patch-level SVDD for Anomaly Detection and Segmentation, ACCV 2020"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})

    def __init__(self, *, distance: Distance = "euclidean") -> None:
        self.distance: Distance = distance

    def score(self, outputs: Outputs) -> Scores:
        maps = []
        for level, bank in zip(
            outputs[PatchEmbeddings].levels, outputs[PatchBank].levels, strict=True
        ):
            patches = MatchedPatches(level, bank, self.distance)
            maps.append(spread(patches.grid(patches.distances), level, outputs.input_size))
        product = torch.stack(maps).prod(0)
        return Scores(image=product.flatten(1).amax(1), map=product)


def spread(scores: Tensor, level: Level, size: tuple[int, int]) -> Tensor:
    """Patch scores [B, h, w] as a map [B, H, W]: the mean over the patches that cover a pixel.

    The cells tile the level's box. If it leaves a border of the input, the patches are larger than
    their cells and begin at the input's border. Pixels beyond the last patch get the nearest
    pixel's score.
    """
    box = level.box or (0, 0, *size)
    sides, strides = [], []
    for axis in (0, 1):
        stride = max(1, round((box[axis + 2] - box[axis]) / scores.shape[axis + 1]))
        strides.append(stride)
        sides.append(2 * box[axis] + stride)
    kernel = scores.new_ones(1, 1, *sides)
    total = functional.conv_transpose2d(scores[:, None], kernel, stride=strides)
    ones = torch.ones_like(scores[:1, None])
    count = functional.conv_transpose2d(ones, kernel, stride=strides)
    mean = (total / count)[:, 0, : size[0], : size[1]]
    missing = (0, size[1] - mean.shape[2], 0, size[0] - mean.shape[1])
    return functional.pad(mean[:, None], missing, mode="replicate")[:, 0]
