"""PaDiM: a Gaussian of the normal patch embeddings at every position.

Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and
Localization", ICPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Model,
    Outputs,
    PatchEmbeddings,
    PatchGaussian,
    Tools,
    TrainSet,
)

WIDE, NARROW = 550, 100
"""Channels that the paper keeps of a Wide ResNet-50's 1,792 and of a ResNet-18's 448."""


class PaDiM(Model):
    """Mean and covariance, over the normal images, of the embedding at each position."""

    name: ClassVar[str] = "padim"
    summary: ClassVar[str] = "Gaussian of a frozen network's features at every position."
    paper: ClassVar[str | None] = (
        "Defard et al., PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and "
        "Localization, ICPR 2020"
    )
    version: ClassVar[int] = 1
    check_parameters: ClassVar[Mapping[str, Any]] = {"dimensions": 32, "resize": 64, "crop": None}
    emits: frozenset[type] = frozenset({PatchEmbeddings, PatchGaussian})

    def __init__(
        self,
        *,
        backbone: Annotated[str, "frozen network"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...],
            Field(min_length=1, description="its layers, joined on the finest grid"),
        ] = ("layer1", "layer2", "layer3"),
        dimensions: Annotated[
            int | None,
            Field(
                ge=1,
                description="number of randomly chosen channels of the layers, at most all; none: "
                "the paper's, 550 if there are at least twice as many, else 100",
            ),
        ] = None,
        epsilon: Annotated[
            float, Field(gt=0, description="added to the diagonal of the covariance")
        ] = 0.01,
        resize: Resize = 256,
        crop: Crop = 224,
        aspect: Aspect = "keep",
    ) -> None:
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.dimensions = dimensions
        self.epsilon = epsilon
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> PaDiM:
        """Choose the channels and estimate the Gaussian of every position, a row at a time."""
        self.extract: Features = tools.features(self.feature_requests[0])
        self.channels: list[Tensor] = []
        batches = []
        for batch in train.batches():
            if not self.channels:
                self.channels = self._drawn(self._grids(batch), tools.generator)
            batches.append(self._chosen(batch))
        grids = [torch.cat(layer, 2) for layer in zip(*batches, strict=True)]
        height, width = _finest(grids)
        depth = sum(map(len, self.channels))
        self.mean = grids[0].new_empty(height, width, depth)
        self.precision = grids[0].new_empty(height, width, depth, depth)
        for row in range(height):
            patches = _joined(grids, slice(row, row + 1))[0].double()
            mean = patches.mean(1, keepdim=True)
            self.mean[row] = mean[:, 0]
            self.precision[row] = precision(patches - mean, self.epsilon)
            tools.progress(row + 1, height)
        return self

    def chosen(self) -> Mapping[str, str | int | float]:
        """The number of channels."""
        return {"dimensions": sum(map(len, self.channels))}

    def predict(self, batch: Batch) -> Outputs:
        """Patch embeddings [B, h, w, D] on the finest layer's grid, and the Gaussians there."""
        height, width = batch.images.shape[-2:]
        patches = _joined(self._chosen(batch)).permute(2, 0, 1, 3)
        return Outputs(
            (height, width),
            PatchEmbeddings((Level(patches),)),
            PatchGaussian(((self.mean, self.precision),)),
        )

    def _grids(self, batch: Batch) -> list[Tensor]:
        layers = self.extract(batch)
        return [layers[layer] for layer in self.feature_requests[0].layers]

    def _drawn(self, grids: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        """The channels of each layer to keep: a random subset of all channels, in their order."""
        counts = [grid.shape[1] for grid in grids]
        dimensions = self.dimensions or (WIDE if sum(counts) >= 2 * WIDE else NARROW)
        chosen = torch.zeros(sum(counts), dtype=torch.bool)
        chosen[torch.randperm(sum(counts), generator=generator)[:dimensions]] = True
        kept = (layer.nonzero()[:, 0] for layer in torch.split(chosen, counts))
        return [channels.to(grid.device) for channels, grid in zip(kept, grids, strict=True)]

    def _chosen(self, batch: Batch) -> list[Tensor]:
        """The chosen channels of each layer on its own grid, [h, w, B, C]."""
        grids = self._grids(batch)
        kept = zip(grids, self.channels, strict=True)
        return [grid[:, channels].permute(2, 3, 0, 1) for grid, channels in kept]


def precision(centred: Tensor, epsilon: float) -> Tensor:
    """Inverse [P, D, D] of covariance + ``epsilon`` I for N centred vectors at P places [P, N, D].

    The covariance has the divisor N - 1 (1 for a single vector). If there are no more vectors than
    dimensions, the inverse is computed from their [N, N] products (Woodbury), which is as exact and
    many times faster. Use float64.
    """
    count, depth = centred.shape[1:]
    divisor = max(1, count - 1)
    identity = torch.eye(depth, dtype=centred.dtype, device=centred.device)
    if count > depth:
        covariance = torch.baddbmm(identity, centred.mT, centred, beta=epsilon, alpha=1 / divisor)
        factor = torch.linalg.cholesky(covariance)
        root: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
        return root.mT @ root
    products = centred @ centred.mT
    products.diagonal(dim1=1, dim2=2).add_(divisor * epsilon)
    root = torch.linalg.solve_triangular(torch.linalg.cholesky(products), centred, upper=False)
    return torch.baddbmm(identity, root.mT, root, beta=1 / epsilon, alpha=-1 / epsilon)


def _finest(grids: Sequence[Tensor]) -> tuple[int, int]:
    """Height and width of the finest of the grids [h, w, B, C]."""
    height, width = max((grid.shape[:2] for grid in grids), key=math.prod)
    return height, width


def _joined(grids: Sequence[Tensor], rows: slice = slice(None)) -> Tensor:
    """Grids [h, w, B, C] concatenated on the finest, coarse cells duplicated: [rows, w, B, D]."""
    parts = []
    for grid in grids:
        down, across = (
            torch.arange(fine, device=grid.device) * coarse // fine
            for fine, coarse in zip(_finest(grids), grid.shape[:2], strict=True)
        )
        parts.append(grid[down[rows]][:, across])
    return torch.cat(parts, -1)
