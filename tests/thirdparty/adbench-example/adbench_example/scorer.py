"""The area that looks wrong."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.types import AnomalyMap, Outputs, Scorer, Scores, TrainOutputs


class Area(Scorer):
    """By how much, on average, an image's map exceeds what the training images' maps reach."""

    name: ClassVar[str] = "area"
    summary: ClassVar[str] = "Mean excess of the map over the training maps' quantile."
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({AnomalyMap})

    def __init__(
        self,
        *,
        quantile: Annotated[float, Field(gt=0, lt=1, description="of the training maps")] = 0.99,
    ) -> None:
        self.quantile = quantile

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> Self:
        pixels = torch.cat([_finest(output).flatten() for output in outputs])
        self.limit = pixels.quantile(self.quantile)
        return self

    def score(self, outputs: Outputs) -> Scores:
        finest = _finest(outputs)
        excess = (finest - self.limit).clamp_min(0).mean((1, 2))
        whole = functional.interpolate(finest[:, None], outputs.input_size, mode="bilinear")
        return Scores(image=excess, map=whole[:, 0])


def _finest(outputs: Outputs) -> Tensor:
    return outputs[AnomalyMap].levels[0].values
