"""How much more, or less, the gradients differ than they do in normal images at the same place."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.gms import msgms_map
from adbench_harness.nn.maps import mean_filter
from adbench_harness.types import Outputs, Reconstruction, Scorer, Scores, TrainOutputs

SCALES, SMOOTHING = 3, 21


class CentredMSGMS(Scorer):
    """The squared difference between a smoothed MSGMS map and its mean over the training images.

    The image score is the maximum.
    """

    name: ClassVar[str] = "residual-msgms-centred"
    summary: ClassVar[str] = "MSGMS residual, less its mean over the normal images, squared."
    paper: ClassVar[str | None] = (
        "Pirnay, Chai, Inpainting Transformer for Anomaly Detection, arXiv 2104.13897"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({Reconstruction})

    def __init__(
        self,
        *,
        scales: Annotated[int, Field(ge=1, description="scales, each half the last")] = SCALES,
        smoothing: Annotated[
            int,
            Field(ge=1, description="side of the mean filter in input px, odd; 1 for none"),
        ] = SMOOTHING,
    ) -> None:
        if smoothing % 2 == 0:
            raise ValueError(f"smoothing must be an odd number, not {smoothing}")
        self.scales = scales
        self.smoothing = smoothing

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> CentredMSGMS:
        """The mean map [H, W] of the training images."""
        totals = [self._map(each).double().sum(0) for each in outputs]
        self.mean = (torch.stack(totals).sum(0) / len(outputs)).float()
        return self

    def score(self, outputs: Outputs) -> Scores:
        centred = (self._map(outputs) - self.mean).square()
        return Scores(image=centred.flatten(1).amax(1), map=centred)

    def _map(self, outputs: Outputs) -> Tensor:
        """The smoothed map [B, H, W], mean over the reconstructions."""
        given = outputs[Reconstruction]
        residuals = [1 - msgms_map(given.input, made, self.scales) for made in given.outputs]
        return mean_filter(torch.stack(residuals).mean(0), self.smoothing)
