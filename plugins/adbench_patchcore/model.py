"""PatchCore: a memory bank of normal patches, reduced to a coreset.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022. The equation
numbers are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.coreset import Ratio, greedy_coreset
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Model,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    Tools,
    TrainSet,
)

Embedding = Annotated[
    Literal["auto", "pooled", "means", "concatenated"],
    "averaged to one dimension (the authors' code), local means with coarse layers resized "
    "bilinearly, or local means with coarse cells duplicated; auto is pooled if every "
    "output averages at least 4 values, else means",
]
LEAST_AVERAGED = 4
"""The number of values that each output of the pooled embedding has to average by default."""


class PatchCore(Model):
    """Locally aware patch features of a frozen backbone, stored as a coreset."""

    name: ClassVar[str] = "patchcore"
    summary: ClassVar[str] = "Memory bank of locally aware patch features, reduced to a coreset."
    paper: ClassVar[str | None] = (
        "Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022"
    )
    version: ClassVar[int] = 2
    emits: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})
    younger: ClassVar[frozenset[str]] = frozenset({"joint_dimension"})
    check_parameters: ClassVar[dict[str, int]] = {"resize": 96, "crop": 80}

    def __init__(
        self,
        *,
        backbone: Annotated[str, "frozen network"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...],
            Field(min_length=1, description="its layers, joined on the finest grid"),
        ] = ("layer2", "layer3"),
        neighbourhood: Annotated[
            int, Field(ge=1, description="side of the patch around a position, odd")
        ] = 3,
        embedding: Embedding = "auto",
        dimension: Annotated[
            int, Field(ge=1, description="dimension of the pooled embedding")
        ] = 1024,
        joint_dimension: Annotated[
            int | None,
            Field(
                ge=1,
                description="dimension to which the layers' pooled embeddings are averaged "
                "together; none: dimension",
            ),
        ] = None,
        coreset_ratio: Ratio = 0.01,
        projection: Annotated[
            int | None,
            Field(ge=1, description="dimension of the random projection for the coreset, or none"),
        ] = 128,
        resize: Resize = 256,
        crop: Crop = 224,
        aspect: Aspect = "keep",
    ) -> None:
        if neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood must be odd, to have a centre, not {neighbourhood}")
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.neighbourhood = neighbourhood
        self.embedding = embedding
        self.dimension = dimension
        self.joint_dimension = joint_dimension or dimension
        self.coreset_ratio = coreset_ratio
        self.projection = projection
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> PatchCore:
        """Store the coreset of the training images' patches."""
        self.extract: Features = tools.features(self.feature_requests[0])
        self.join: str | None = None
        memory: Tensor | None = None
        filled = 0
        for batch in train.batches():
            patches = self.embed(batch).flatten(0, 2)  # P_s,p of eq. 3
            if memory is None:
                per_image = len(patches) // len(batch)
                memory = patches.new_empty(len(train) * per_image, patches.shape[1])
            memory[filled : filled + len(patches)] = patches  # M of eq. 4
            filled += len(patches)
        assert memory is not None, "a training set has at least one image"
        count = max(1, int(self.coreset_ratio * len(memory)))
        if count < len(memory):  # M_C of eq. 5
            chosen = greedy_coreset(
                memory, count, tools.generator, self.projection, progress=tools.progress
            )
            memory = memory[chosen]
        self.bank = Neighbours(memory)
        return self

    def predict(self, batch: Batch) -> Outputs:
        """Patch embeddings [B, h, w, D] on the finest layer's grid, and the memory bank."""
        height, width = batch.images.shape[-2:]
        return Outputs(
            (height, width), PatchEmbeddings((Level(self.embed(batch)),)), PatchBank((self.bank,))
        )

    def embed(self, batch: Batch) -> Tensor:
        """Locally aware patch features, phi of eq. 2, [B, h, w, D]."""
        layers = self.extract(batch)
        grids = [layers[layer] for layer in self.feature_requests[0].layers]
        finest = max((grid.shape[-2:] for grid in grids), key=math.prod)
        if self.join is None:
            self.join = self._join(grids)
        joined = (
            self._pooled(grids, finest)
            if self.join == "pooled"
            else self._means(grids, finest, "bilinear" if self.join == "means" else "nearest")
        )
        return joined.permute(0, 2, 3, 1).contiguous()

    def chosen(self) -> Mapping[str, str | int | float]:
        """The embedding and its width."""
        assert self.join is not None, "fit has chosen it"
        return {"embedding": self.join, "dimension": self.bank.bank.shape[1]}

    def _join(self, grids: Sequence[Tensor]) -> str:
        """How to join the layers: as asked, or as suits their widths.

        On the authors' backbone every output is the mean of 4 to 9 values. Means of fewer mix
        unrelated channels and gain nothing; below one value each, they repeat values.
        """
        if self.embedding != "auto":
            return self.embedding
        narrowest = min(grid.shape[1] for grid in grids)
        averaged = narrowest * self.neighbourhood**2 / self.dimension
        return "pooled" if averaged >= LEAST_AVERAGED else "means"

    def _pooled(self, grids: Sequence[Tensor], finest: torch.Size) -> Tensor:
        """Each layer's values averaged to one dimension, then those of all layers, [B, D, h, w]."""
        pooled = []
        for grid in grids:
            patches = functional.unfold(grid, self.neighbourhood, padding=self.neighbourhood // 2)
            # The authors resize before they average. Both are linear, along different axes, so the
            # order does not matter, and this one never stores the unfolded patches on the finest
            # grid.
            patches = functional.adaptive_avg_pool2d(patches, (self.dimension, patches.shape[2]))
            patches = patches.reshape(len(grid), self.dimension, *grid.shape[-2:])
            pooled.append(functional.interpolate(patches, finest, mode="bilinear"))
        joined = torch.cat(pooled, 1).flatten(2)
        joined = functional.adaptive_avg_pool2d(joined, (self.joint_dimension, joined.shape[2]))
        return joined.reshape(len(joined), self.joint_dimension, *finest)

    def _means(self, grids: Sequence[Tensor], finest: torch.Size, resize: str) -> Tensor:
        """Each channel's local means on the finest grid, concatenated, [B, D, h, w]."""
        side = self.neighbourhood
        means = (functional.avg_pool2d(grid, side, stride=1, padding=side // 2) for grid in grids)
        return torch.cat([functional.interpolate(mean, finest, mode=resize) for mean in means], 1)
