"""A Gaussian a pixel."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field

from adbench_harness.types import (
    AnomalyMap,
    Batch,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
)


class PixelGaussian(Model):
    """How many deviations a pixel lies from the training images' mean there."""

    name: ClassVar[str] = "pixel-gaussian"
    summary: ClassVar[str] = "A Gaussian a pixel, for parts that are always in the same place."
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})

    def __init__(
        self,
        *,
        side: Annotated[int, Field(ge=8, description="side of the input in px")] = 64,
        floor: Annotated[float, Field(gt=0, description="least deviation")] = 0.02,
    ) -> None:
        self.input = InputSpec(side, None, "squash")
        self.floor = floor

    def fit(self, train: TrainSet, tools: Tools) -> Self:
        images = torch.cat([batch.images for batch in train.batches()])
        self.mean = images.mean(0)
        self.deviation = images.std(0, correction=0).clamp_min(self.floor)
        return self

    def predict(self, batch: Batch) -> Outputs:
        height, width = batch.images.shape[-2:]
        deviations = ((batch.images - self.mean) / self.deviation).abs().mean(1)
        return Outputs((height, width), AnomalyMap((Level(deviations),)))
