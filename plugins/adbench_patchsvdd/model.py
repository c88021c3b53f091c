"""Patch SVDD: features of patches, learned from where patches are to each other.

Yi, Yoon, "Patch SVDD: Patch-level SVDD for Anomaly Detection and Segmentation", ACCV 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.coreset import Ratio, greedy_coreset
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.training import BatchSize, drawn_from, train_epochs
from adbench_harness.types import (
    Batch,
    InputSpec,
    Level,
    Model,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    Tools,
    TrainSet,
    written,
)
from adbench_patchsvdd.network import LARGE, SMALL, STRIDE, Encoder, Losses

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "passes": 8,
        "batch": 4,
        "pairs": 100,
        "width": 16,
        "learning_rate": 1e-3,
        "strides": (8, 16),
        "coreset_ratio": 0.02,
    },
    "paper": {},
    "smoke": {
        "passes": 5,
        "batch": 4,
        "pairs": 20,
        "width": 4,
        "learning_rate": 1e-3,
        "strides": (8, 16),
        "size": 128,
    },
}
Stride = Annotated[int, Field(ge=STRIDE, le=SMALL, multiple_of=STRIDE)]


class PatchSVDD(Model):
    """Features of patches of 32 and 64 px, and those of all patches of the normal images."""

    name: ClassVar[str] = "patchsvdd"
    summary: ClassVar[str] = "Self-supervised features of patches of two sizes, and their bank."
    paper: ClassVar[str | None] = (
        "Yi, Yoon, Patch SVDD: Patch-level SVDD for Anomaly Detection and Segmentation, ACCV 2020"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        passes: Annotated[
            int,
            Field(
                ge=0,
                description="passes over the training images; the paper's 300 epochs have 100 each",
            ),
        ] = 30000,
        batch: BatchSize = 64,
        pairs: Annotated[
            int, Field(ge=1, description="pairs per image and step, of each kind")
        ] = 1,
        width: Annotated[int, Field(ge=1, description="channels of the first convolution")] = 32,
        weight: Annotated[
            float, Field(ge=0, description="weight of the distance of near patches, lambda")
        ] = 1e-3,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 1e-4,
        strides: Annotated[
            tuple[Stride, Stride],
            "distance in px between the patches of 32 px and between those of 64 px",
        ] = (4, 16),
        coreset_ratio: Ratio = 1.0,
        size: Size = 256,
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        if min(self.input.size) < 2 * LARGE:
            raise ValueError(
                f"size must be at least {2 * LARGE} px on both sides, for two patches beside each "
                f"other, not {written(size)}"
            )
        self.passes = passes
        self.batch = batch
        self.pairs = pairs
        self.width = width
        self.weight = weight
        self.learning_rate = learning_rate
        self.strides = strides
        self.coreset_ratio = coreset_ratio

    def fit(self, train: TrainSet, tools: Tools) -> PatchSVDD:
        """Train the encoder, then store the features of all training patches."""
        with drawn_from(tools.generator):
            self.rebuild({}, tools)
            losses = [Losses(side, self.weight).to(tools.device) for side in (SMALL, LARGE)]
        self._standardise(train)
        parts = {"encoder": self.encoder, "small": losses[0], "large": losses[1]}

        def loss_of(batch: Batch) -> Tensor:
            small = self.encoder(batch.images)
            grids = (small, self.encoder.merged(small, SMALL // STRIDE))
            return torch.stack(
                [
                    loss(grid, self.pairs, tools.generator)
                    for loss, grid in zip(losses, grids, strict=True)
                ]
            ).sum()

        train_epochs(
            loss_of,
            parts,
            torch.optim.Adam(
                [p for part in parts.values() for p in part.parameters()], lr=self.learning_rate
            ),
            train,
            tools,
            epochs=self.passes,
            batch=self.batch,
        )
        batches = [self._features(batch.images) for batch in train.batches()]
        self.banks = [
            self._bank(torch.cat([grid.flatten(0, 2) for grid in level]), tools)
            for level in zip(*batches, strict=True)
        ]
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The encoder with random weights."""
        self.encoder = Encoder(self.width).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """Features of the patches, and the banks: of 32 px at the first level, then of 64 px."""
        height, width = batch.images.shape[-2:]
        levels = [
            Level(grid, _box(grid, side, stride))
            for grid, side, stride in zip(
                self._features(batch.images), (SMALL, LARGE), self.strides, strict=True
            )
        ]
        return Outputs(
            (height, width), PatchEmbeddings(tuple(levels)), PatchBank(tuple(self.banks))
        )

    def _bank(self, features: Tensor, tools: Tools) -> Neighbours:
        """The features [N, 64], or the coreset of them."""
        count = max(1, int(self.coreset_ratio * len(features)))
        if count < len(features):
            features = features[greedy_coreset(features, count, tools.generator)]
        return Neighbours(features)

    def _standardise(self, train: TrainSet) -> None:
        """Set the encoder's mean and deviation to those of the training images."""
        images = 0
        moments = torch.zeros(2, 3, dtype=torch.float64)
        for batch in train.batches():
            images += len(batch)
            values = batch.images.double()
            moments += torch.stack([v.mean((2, 3)).sum(0) for v in (values, values**2)]).cpu()
        mean, square = moments[:, :, None, None] / images
        self.encoder.mean.copy_(mean)
        self.encoder.std.copy_((square - mean**2).clamp(min=1e-6).sqrt())

    def _features(self, images: Tensor) -> Sequence[Tensor]:
        """Features [B, h, w, 64] of the patches of 32 px and of 64 px, at their strides."""
        with torch.no_grad():
            dense = self.encoder(images)
            step = math.gcd(self.strides[1], SMALL)
            quarters = dense[:, :, :: step // STRIDE, :: step // STRIDE]
            large = self.encoder.merged(quarters, SMALL // step)
        grids = (
            dense[:, :, :: self.strides[0] // STRIDE, :: self.strides[0] // STRIDE],
            large[:, :, :: self.strides[1] // step, :: self.strides[1] // step],
        )
        return [grid.permute(0, 2, 3, 1).contiguous() for grid in grids]


def _box(grid: Tensor, side: int, stride: int) -> tuple[int, int, int, int]:
    """The rectangle that the grid's cells tile, each in the middle of its patch."""
    border = (side - stride) // 2
    return (border, border, border + grid.shape[1] * stride, border + grid.shape[2] * stride)
