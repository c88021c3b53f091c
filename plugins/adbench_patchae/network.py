"""Patch AE's network, in which every feature vector reconstructs its own patch, and its loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.errors import UserError

EPS = 1e-6
"""Added to a patch's variance before the division, as in MAE (He et al., CVPR 2022)."""


class PatchAutoEncoder(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> the same, reconstructed patch by patch from features R.

    ``backbone`` gives a dict of grids for ``example`` [1, 3, H, W]; coarse grids are resized
    bilinearly to the finest, h x w, and all are concatenated. Two 1 x 1 convolutions with ReLU
    compress them to R of ``width`` channels; two more reconstruct from each vector the patch of
    H/h x W/w px that it covers. Only the backbone combines positions. Raises UserError if the grid
    does not divide the image into square patches.
    """

    def __init__(self, backbone: nn.Module, width: int, example: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.no_grad():
            _, channels, h, w = self._joined(example).shape
        height, wide = example.shape[-2:]
        self.patch = height // h
        if (height, wide) != (h * self.patch, w * self.patch):
            raise UserError(
                f"patchae: an input of {height} x {wide} px cannot be divided into the {h} x {w} "
                "patches of the finest layer; use a crop that is a multiple of its stride, e.g. 224"
            )
        self.compress = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU()
        )
        # The shuffle moves value c * patch^2 + y * patch + x to pixel (y, x) of channel c.
        self.decoder = nn.Sequential(
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, 3 * self.patch**2, 1),
            nn.PixelShuffle(self.patch),
        )

    def encode(self, images: Tensor) -> Tensor:
        """Features R [B, width, h, w]."""
        features: Tensor = self.compress(self._joined(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.encode(images))
        return rebuilt

    def _joined(self, images: Tensor) -> Tensor:
        grids = self.backbone(images.contiguous(memory_format=torch.channels_last)).values()
        finest = max((grid.shape[-2:] for grid in grids), key=math.prod)
        return torch.cat(
            [functional.interpolate(grid, finest, mode="bilinear") for grid in grids], 1
        )


def reconstruction_loss(
    rebuilt: Tensor, images: Tensor, patch: int, alpha: float, *, unbiased: bool = False
) -> Tensor:
    """Equation 3: L2 distances of patches, plus those of normalised patches times ``alpha``.

    Summed over the patches of an image, mean over images [B, 3, H, W]. Distances are not squared.
    """
    ours, theirs = (functional.pixel_unshuffle(i, patch) for i in (rebuilt, images))
    normed = standardised(ours, unbiased=unbiased) - standardised(theirs, unbiased=unbiased)
    # vector_norm's gradient at 0 is 0.
    plain, normed = (torch.linalg.vector_norm(d, dim=1) for d in (ours - theirs, normed))
    return torch.lerp(plain, normed, alpha).sum((1, 2)).mean()


def standardised(patches: Tensor, *, unbiased: bool) -> Tensor:
    """Patches [B, values, h, w] minus their mean, divided by their standard deviation."""
    mean = patches.mean(1, keepdim=True)
    variance = patches.var(1, correction=int(unbiased), keepdim=True)
    return (patches - mean) / (variance + EPS).sqrt()
