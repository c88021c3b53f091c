"""Structural similarity (SSIM) of images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2

Denominator = Literal["standard", "paper_product"]


def ssim(first: Tensor, second: Tensor, denominator: Denominator = "standard") -> Tensor:
    """Mean structural similarity [B] of images [B, C, H, W] in [0, 1], at most 1 (equal images).

    Windows are 11 x 11 Gaussians of sigma 1.5 inside the image (Wang et al., IEEE TIP
    2004). ``denominator`` "paper_product" multiplies the squared means instead of adding them,
    as Shah and Kim (2022, eq. 3) print it; it has no upper bound.

    Raises ValueError if an image is smaller than the window.
    """
    if min(first.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} px, not {list(first.shape[2:])}")
    return _of_windows(first, second, denominator).mean((1, 2, 3))


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity [B, C, H, W] of the windows around each pixel.

    Beyond their border, images are mirrored, edge pixels included. Equals the full image of
    scikit-image's ``structural_similarity`` with Gaussian weights.
    """
    for dim in (2, 3):
        side = first.shape[dim]
        index = torch.arange(-(WINDOW // 2), side + WINDOW // 2, device=first.device) % (2 * side)
        index = torch.minimum(index, 2 * side - 1 - index)
        first, second = first.index_select(dim, index), second.index_select(dim, index)
    return _of_windows(first, second, "standard")


def _of_windows(first: Tensor, second: Tensor, denominator: Denominator) -> Tensor:
    """The similarity [B, C, H - 10, W - 10] of each window inside the images."""
    offsets = torch.arange(WINDOW, device=first.device, dtype=first.dtype) - WINDOW // 2
    kernel = torch.exp(-0.5 * (offsets / SIGMA).square())
    kernel = kernel / kernel.sum()

    moments = torch.stack([first, second, first * first, second * second, first * second])
    # Each image as a channel of its own: the same bits, many times faster than as a batch.
    moments = moments.flatten(1, 2)
    planes = moments.shape[1]
    means = conv2d(moments, kernel.expand(planes, 1, 1, -1), groups=planes)
    means = conv2d(means, kernel[:, None].expand(planes, 1, -1, 1), groups=planes)
    x, y, xx, yy, xy = means.view(5, *first.shape[:2], *means.shape[2:])

    squares = x * x + y * y if denominator == "standard" else x * x * y * y
    luminance = (2 * x * y + C1) / (squares + C1)
    structure = (2 * (xy - x * y) + C2) / (xx - x * x + yy - y * y + C2)
    similarity: Tensor = luminance * structure
    return similarity
