"""A model: the distance of each patch's features from their mean over the normal images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    FeatureRequest,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
)
from pydantic import Field
from torch import Tensor


class Template(Model):
    """Deviation of a patch's features from the mean of all normal patches."""

    name = "template"
    summary = "Distance of patch features to their mean, in standard deviations."
    version = 1
    emits = frozenset({AnomalyMap})

    def __init__(
        self,
        *,
        backbone: Annotated[str, "frozen network"] = "embedded",
        layer: Annotated[str, "layer of the network"] = "layer2",
        size: Annotated[int, Field(ge=32, description="side of the input in px")] = 128,
    ) -> None:
        self.input = InputSpec(size, None)
        self.feature_requests = (FeatureRequest(backbone, (layer,)),)

    def fit(self, train: TrainSet, tools: Tools) -> Template:
        """Mean and standard deviation [C] over all patches of the training images."""
        self.extract = tools.features(self.feature_requests[0])
        patches = torch.cat([self.embed(batch).flatten(0, 2) for batch in train.batches()])
        self.mean = patches.mean(0)
        self.deviation = patches.std(0).clamp_min(1e-6)
        return self

    def predict(self, batch: Batch) -> Outputs:
        """Root mean square deviation of each patch, [B, h, w]."""
        height, width = batch.images.shape[-2:]
        deviations = (self.embed(batch) - self.mean) / self.deviation
        return Outputs((height, width), AnomalyMap((Level(deviations.square().mean(3).sqrt()),)))

    def embed(self, batch: Batch) -> Tensor:
        """Features of the layer, [B, h, w, C]."""
        (grid,) = self.extract(batch).values()
        return grid.permute(0, 2, 3, 1)


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    return [Template]
