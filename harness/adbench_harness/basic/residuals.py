"""Scorers of reconstructions: a pixel's score is how much a reconstruction differs from the input.

The maps of several reconstructions are averaged, then smoothed; the image score is the maximum.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn.functional import interpolate

from adbench_harness.nn.gms import SCALES, msgms_map
from adbench_harness.nn.maps import mean_filter
from adbench_harness.nn.ssim import ssim_map
from adbench_harness.types import Outputs, Reconstruction, Scorer, Scores


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("Write an odd number")
    return side


Smoothing = Annotated[
    int,
    Field(ge=1, description="side of the mean filter in input px, odd; 1 for none"),
    AfterValidator(_odd),
]


class _Residual(Scorer):
    """The mean residual of the reconstructions."""

    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({Reconstruction})
    smoothing: int

    def score(self, outputs: Outputs) -> Scores:
        images = outputs[Reconstruction].input
        size = (images.shape[2], images.shape[3])
        residuals = [
            self.residual(images, interpolate(made, size, mode="bilinear", align_corners=False))
            for made in outputs[Reconstruction].outputs
        ]
        smooth = mean_filter(torch.stack(residuals).mean(0), self.smoothing)
        return Scores(image=smooth.flatten(1).amax(1), map=smooth)

    @abstractmethod
    def residual(self, images: Tensor, made: Tensor) -> Tensor:
        """The map [B, H, W] of two sets of images [B, 3, H, W]."""


class SquaredResidual(_Residual):
    """The squared difference of the pixels, mean over the channels."""

    name: ClassVar[str] = "residual-l2"
    summary: ClassVar[str] = "Squared difference between image and reconstruction."

    def __init__(self, *, smoothing: Smoothing = 1) -> None:
        self.smoothing = smoothing

    def residual(self, images: Tensor, made: Tensor) -> Tensor:
        return (images - made).square().mean(1)


class SSIMResidual(_Residual):
    """1 - SSIM of the window around each pixel, mean over the channels."""

    name: ClassVar[str] = "residual-ssim"
    summary: ClassVar[str] = "Structural dissimilarity (SSIM) of image and reconstruction."
    paper: ClassVar[str | None] = (
        "Bergmann, Löwe, Fauser, Sattlegger, Steger, Improving Unsupervised Defect Segmentation by "
        "Applying Structural Similarity to Autoencoders, VISAPP 2019"
    )

    def __init__(self, *, smoothing: Smoothing = 1) -> None:
        self.smoothing = smoothing

    def residual(self, images: Tensor, made: Tensor) -> Tensor:
        return 1 - ssim_map(images, made).mean(1)


class MSGMSResidual(_Residual):
    """1 - the mean gradient magnitude similarity of several scales, after a mean filter."""

    name: ClassVar[str] = "residual-msgms"
    summary: ClassVar[str] = "Dissimilar gradients (MSGMS) of image and reconstruction."
    paper: ClassVar[str | None] = (
        "Zavrtanik, Kristan, Skočaj, Reconstruction by Inpainting for Visual Anomaly Detection, "
        "Pattern Recognition 2021"
    )

    def __init__(
        self,
        *,
        scales: Annotated[int, Field(ge=1, description="scales, each half the last")] = SCALES,
        smoothing: Smoothing = 21,
    ) -> None:
        self.scales = scales
        self.smoothing = smoothing

    def residual(self, images: Tensor, made: Tensor) -> Tensor:
        return 1 - msgms_map(images, made, self.scales)


RESIDUALS = [SquaredResidual, SSIMResidual, MSGMSResidual]
