"""Sinusoidal encoding of the positions of a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoids(channels: int, size: tuple[int, int]) -> Tensor:
    """Codes [channels, h, w] of the positions of a grid of ``size`` (h, w).

    The first half of the channels depends on the column, the second on the row: sines and cosines
    in turn, with wavelengths from 2 pi to 2 pi * 10000 cells (Vaswani et al., Attention is all you
    need, NIPS 2017). Raises ValueError unless ``channels`` is a multiple of 4.
    """
    if channels < 4 or channels % 4:
        raise ValueError(f"positions need a multiple of 4 channels, not {channels}")
    half = channels // 2
    rates = torch.exp(torch.arange(0, half, 2) * (-math.log(10000) / half))

    def codes(length: int) -> Tensor:
        """[half, length]."""
        angles = rates[:, None] * torch.arange(length)
        return torch.stack([angles.sin(), angles.cos()], 1).flatten(0, 1)

    height, width = size
    across = codes(width)[:, None].expand(-1, height, -1)
    down = codes(height)[:, :, None].expand(-1, -1, width)
    return torch.cat([across, down])
