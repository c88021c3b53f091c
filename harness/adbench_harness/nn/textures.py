"""Textures that fill pseudo-anomalies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.perlin import perlin_noise
from adbench_harness.types import Tools, TrainSet

Source = Literal["self", "procedural", "dtd"]
POOL = 256
"""Number of textures to generate if they do not come from a data set."""
SMOOTH = torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13


class Textures:
    """A pool of textures of a training set's image size.

    ``source`` "dtd" is the auxiliary data set of that name; "procedural" is noise and stripes in
    random colours; "self" is pieces of the training images, enlarged, rotated and recoloured. The
    latter two need no further data. ``pixels`` are uint8 [N, 3, H, W] on the CPU.
    """

    def __init__(self, source: Source, train: TrainSet, tools: Tools) -> None:
        if source == "procedural":
            side = next(train.batches(1)).images.shape[-2:]
            made = procedural(POOL, (side[0], side[1]), tools.generator)
        elif source == "self":
            images = torch.cat([batch.images.cpu() for batch in train.batches()])
            chosen = torch.randint(len(images), (POOL,), generator=tools.generator)
            made = pieces(images[chosen], tools.generator)
        else:
            self.pixels = torch.cat([_bytes(b.images) for b in tools.auxiliary(source).batches()])
            return
        self.pixels = _bytes(made)

    def __len__(self) -> int:
        return len(self.pixels)

    def draw(
        self, count: int, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Textures [count, 3, H, W] in [0, 1] on ``device``, and their pool indices (CPU)."""
        indices = torch.randint(len(self), (count,), generator=generator)
        return self.pixels[indices].to(device).float() / 255, indices


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8).cpu()


def procedural(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Textures [count, 3, H, W] in [0, 1]: noise, stripes and grain between two random colours.

    Half of them have hard edges; most are nearly grey, like photographs.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    rows, columns = (torch.linspace(0, 1, side) for side in size)
    angle, cycles = math.pi * uniform(1, 1), 2 ** (1 + 5 * uniform(1, 1))
    noise = perlin_noise(count, size, generator)
    way = rows[None, :, None] * angle.sin() + columns * angle.cos() + 0.1 * noise
    stripes = torch.sin(2 * math.pi * cycles * way)
    grain = torch.randn(count, *size, generator=generator)
    parts = torch.stack(
        [perlin_noise(count, size, generator, finest=6), 0.5 * stripes, 0.2 * grain]
    )
    field = (uniform(3).T[:, :, None, None] ** 2 * parts).sum(0).flatten(1)
    field = (field - field.amin(1, True)) / (field.amax(1, True) - field.amin(1, True) + 1e-6)
    hard = ((field - field.median(1, True).values) * 20 + 0.5).clamp(0, 1)
    field = torch.where(uniform(1) < 0.5, hard, field).view(count, 1, *size)
    saturation = uniform(1, 1, 1) ** 2
    start = torch.lerp(uniform(1, 1, 1), uniform(3, 1, 1), saturation)
    end = torch.lerp(uniform(1, 1, 1), uniform(3, 1, 1), saturation)
    return torch.lerp(start, end, field)


def pieces(images: Tensor, generator: torch.Generator) -> Tensor:
    """A piece of each image [B, 3, H, W], enlarged, rotated or mirrored, and recoloured."""
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    zoom, angle = uniform(0.25, 1), uniform(0, 2 * math.pi)
    mirror = uniform(-1, 1).sign()
    shift = uniform(-1, 1, 2) * (1 - zoom)[:, None]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    turn = turn * zoom[:, None, None] * torch.stack([mirror, torch.ones(count)], 1)[:, None]
    grid = functional.affine_grid(
        torch.cat([turn, shift[:, :, None]], 2), list(images.shape), align_corners=False
    )
    pieces = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain, offset = uniform(0.5, 1.5, 3, 1, 1), uniform(-0.3, 0.3, 3, 1, 1)
    return (pieces * gain + offset).clamp(0, 1)


# ---------------------------------------------------------------- photometric jitter


def _gamma(images: Tensor, draws: Tensor) -> Tensor:
    """Each channel to the power of U(0.5, 2)."""
    return images ** (0.5 + 1.5 * draws)[:, :, None, None]


def _brightness(images: Tensor, draws: Tensor) -> Tensor:
    """Times U(0.8, 1.2), plus U(-30, 30) of 255."""
    gain, offset = 0.8 + 0.4 * draws[:, 0], (60 * draws[:, 1] - 30) / 255
    return (images * gain[:, None, None, None] + offset[:, None, None, None]).clamp(0, 1)


def _sharpness(images: Tensor, draws: Tensor) -> Tensor:
    """Smoothed (0), unchanged (1), sharpened (up to 3), or in between."""
    kernel = SMOOTH.to(images).expand(3, 1, 3, 3)
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    smooth = functional.conv2d(padded, kernel, groups=3)
    return torch.lerp(smooth, images, 3 * draws[:, :1, None, None]).clamp(0, 1)


def _autocontrast(images: Tensor, draws: Tensor) -> Tensor:
    """Each channel stretched to [0, 1], clipping up to a fifth of its pixels at either end."""
    values = images.flatten(2).sort(2).values
    last = values.shape[2] - 1
    low = (0.2 * draws[:, :1] * last).long()[:, :, None].expand(-1, 3, 1)
    low, high = values.gather(2, low)[..., None], values.gather(2, last - low)[..., None]
    stretched = ((images - low) / (high - low).clamp(min=1 / 255)).clamp(0, 1)
    return torch.where(high > low, stretched, images)


Operation = Callable[[Tensor, Tensor], Tensor]
"""Changes images [B, 3, H, W] in [0, 1], by three uniform numbers for each, [B, 3]."""
JITTER: Sequence[Operation] = (_gamma, _brightness, _sharpness, _autocontrast)
DRAWN = 3


def jitter(
    images: Tensor, generator: torch.Generator, operations: Sequence[Operation] = JITTER
) -> Tensor:
    """Images [B, 3, H, W] in [0, 1], each changed by three of ``operations``, in random order.

    By default they are gamma, brightness, sharpness and contrast stretched to the full range.
    """
    changed = images.clone()
    order = torch.rand(len(images), len(operations), generator=generator).argsort(1)
    for step in order.T[:DRAWN]:
        for number, operation in enumerate(operations):
            chosen = (step == number).nonzero()[:, 0]
            if not len(chosen):
                continue
            draws = torch.rand(len(chosen), 3, generator=generator)
            chosen, draws = chosen.to(images.device), draws.to(images.device)
            changed[chosen] = operation(changed[chosen], draws)
    return changed
