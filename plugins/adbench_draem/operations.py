"""The ten operations that change a texture's colours, of which DRAEM draws three.

Each takes images [B, 3, H, W] in [0, 1] and three uniform numbers for each, [B, 3].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adbench_harness.nn.colours import recoloured
from adbench_harness.nn.rotation import rotated
from adbench_harness.nn.textures import JITTER, Operation

LARGEST = 50 / 255
"""Change of hue (in turns) and of saturation."""


def hue_and_saturation(images: Tensor, draws: Tensor) -> Tensor:
    """Each changed by U(-50, 50) of 255."""
    change = torch.zeros(len(images), 4, device=images.device)
    change[:, 2:] = LARGEST * (2 * draws[:, :2] - 1)
    return recoloured(images, torch.ones_like(images[:, 0], dtype=torch.bool), change)


def solarise(images: Tensor, draws: Tensor) -> Tensor:
    """Half of the images inverted where they are above a threshold of U(32, 128) of 255."""
    threshold = (32 + 96 * draws[:, 0]) / 255
    inverted = (images >= threshold[:, None, None, None]) & (draws[:, 1:2, None, None] < 0.5)
    return torch.where(inverted, 1 - images, images)


def posterise(images: Tensor, draws: Tensor) -> Tensor:
    """One to eight bits of each value are kept."""
    step = 2.0 ** (7 - (8 * draws[:, :1, None, None]).floor())
    values = (255 * images).round()
    return (values / step).floor() * step / 255


def invert(images: Tensor, draws: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def equalise(images: Tensor, draws: Tensor) -> Tensor:
    """Each channel's values spread until all grey values are equally frequent."""
    grey = (255 * images).round().long().flatten(2)
    counts = torch.zeros(*grey.shape[:2], 256, device=images.device)
    counts.scatter_add_(2, grey, torch.ones_like(grey, dtype=counts.dtype))
    below = counts.cumsum(2)
    lowest = below.gather(2, grey.amin(2, keepdim=True))
    spread = (below - lowest) / (grey.shape[2] - lowest).clamp(min=1)
    made = spread.gather(2, grey).view_as(images)
    flat = (lowest == grey.shape[2])[..., None]
    return torch.where(flat, images, made)


def rotate(images: Tensor, draws: Tensor) -> Tensor:
    """By up to 45 degrees in either direction."""
    return rotated(images, 90 * draws[:, 0] - 45)


OPERATIONS: Sequence[Operation] = (
    *JITTER,
    hue_and_saturation,
    solarise,
    posterise,
    invert,
    equalise,
    rotate,
)
