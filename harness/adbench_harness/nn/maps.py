"""Operations on anomaly maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Maps [B, h, w] smoothed by a Gaussian of ``sigma`` pixels; 0 leaves them unchanged.

    Equals ``scipy.ndimage.gaussian_filter`` with its defaults: the kernel ends at 4 sigma, and maps
    are mirrored at their border, edge pixels included. Raises ValueError if ``sigma`` is negative.
    """
    if sigma < 0:
        raise ValueError(f"sigma must be 0 or more, not {sigma}")
    if sigma == 0:
        return maps
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).to(maps.dtype)
    for _ in range(2):
        side = maps.shape[2]
        mirrored = torch.arange(-radius, side + radius, device=maps.device) % (2 * side)
        mirrored = torch.minimum(mirrored, 2 * side - 1 - mirrored)
        blurred = conv2d(maps[:, None, :, mirrored], kernel[None, None, None])
        maps = blurred[:, 0].transpose(1, 2)
    return maps


def mean_filter(maps: Tensor, side: int) -> Tensor:
    """Maps [B, h, w], each pixel the mean of the ``side`` x ``side`` pixels around it; 1 for none.

    Near the border it is the mean of those that are inside. Raises ValueError if ``side`` is even.
    """
    if side < 1 or side % 2 == 0:
        raise ValueError(f"the side of a mean filter must be odd, not {side}")
    if side == 1:
        return maps
    return avg_pool2d(maps[:, None], side, stride=1, padding=side // 2, count_include_pad=False)[
        :, 0
    ]


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, h, w] resized bilinearly to ``size`` (height, width), pixel centres aligned."""
    return interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
