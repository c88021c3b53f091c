"""Perlin noise, from which many pseudo-anomalies get their shape."""

from __future__ import annotations

import torch
from torch import Tensor

FINEST = 5


def perlin_noise(
    count: int,
    size: tuple[int, int],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    finest: int = FINEST,
) -> Tensor:
    """Noise [count, H, W] of any ``size`` (H, W), each map with 2^U{0..finest} cells along an axis.

    Values are in [-1, 1] around 0. The random numbers come from ``generator``, which is on the CPU,
    so that they are the same on every ``device``. As in DRAEM (Zavrtanik et al., ICCV 2021).
    """
    cells = 2 ** torch.randint(finest + 1, (count, 2), generator=generator)
    lattice = 2**finest + 1
    angles = 2 * torch.pi * torch.rand(count, lattice, lattice, generator=generator)
    cells, angles = cells.to(device), angles.to(device).flatten(1)
    rises, runs = angles.sin(), angles.cos()

    corners, fractions, weights = [], [], []
    for axis, side in enumerate(size):
        position = torch.arange(side, device=device) * cells[:, axis, None] / side
        corner = position.floor().long()
        fraction = position - corner
        corners.append(corner)
        fractions.append(fraction)
        weights.append(fraction**3 * (fraction * (fraction * 6 - 15) + 10))

    def slope(down: int, right: int) -> Tensor:
        """The gradient at a corner of each pixel's cell, times the offset from it to the pixel."""
        position = (corners[0] + down)[:, :, None] * lattice + (corners[1] + right)[:, None]
        y, x = (fractions[0] - down)[:, :, None], (fractions[1] - right)[:, None]
        flat = position.flatten(1)
        return y * rises.gather(1, flat).view_as(position) + x * runs.gather(1, flat).view_as(
            position
        )

    vertical, horizontal = weights[0][:, :, None], weights[1][:, None]
    top = torch.lerp(slope(0, 0), slope(0, 1), horizontal)
    bottom = torch.lerp(slope(1, 0), slope(1, 1), horizontal)
    # Without this factor, the values would reach only sqrt(1/2).
    return 2**0.5 * torch.lerp(top, bottom, vertical)
