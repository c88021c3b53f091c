"""The encoder and the decoder of the auto-encoders for MVTec AD: images as vectors and back.

Bergmann, Löwe, Fauser, Sattlegger, Steger, "Improving Unsupervised Defect Segmentation by Applying
Structural Similarity to Autoencoders", VISAPP 2019, Table 1; an image of 256 px has one more
convolution than theirs of 128 px, so that 8 x 8 cells are left before the vector. Weights are drawn
as by He et al. (ICCV 2015): with torch's own, each layer would halve the signal, and no training
would start.
"""

from __future__ import annotations

import math

from torch import nn

from adbench_harness.types import written

_SLOPE = 0.2
_HALVING, _SAME = 4, 3
"""Sides of the kernels: one of 4 px halves the grid, one of 3 px leaves its size."""
_FIRST = (32, _HALVING)
_PLAN = (_FIRST, _FIRST, (32, _SAME), (64, _HALVING), (64, _SAME), (128, _HALVING), (64, _SAME),
         (32, _SAME))  # fmt: skip
"""Channels and kernel of each convolution."""


def grid(size: tuple[int, int]) -> tuple[int, int]:
    """The cells (h, w) that images of ``size`` (H, W) are reduced to before the vector, about 8.

    Raises ValueError if a side is not a multiple of 16 px (of 32 from about 180 px on, and so on).
    """
    cell = 2 ** _halvings(size)
    if any(side < cell or side % cell for side in size):
        raise ValueError(f"both sides must be multiples of {cell} px, not {written(size)}")
    return size[0] // cell, size[1] // cell


def encoder(size: tuple[int, int], outputs: int) -> nn.Sequential:
    """Images [B, 3, H, W] of ``size`` (H, W) -> vectors [B, outputs, 1, 1].

    Raises ValueError as ``grid`` does.
    """
    plan = _plan(size)
    layers: list[nn.Module] = []
    channels = 3
    for width, kernel in plan:
        stride = 2 if kernel == _HALVING else 1
        layers += [nn.Conv2d(channels, width, kernel, stride, padding=1), nn.LeakyReLU(_SLOPE)]
        channels = width
    return _drawn(nn.Sequential(*layers, nn.Conv2d(channels, outputs, grid(size))))


def decoder(size: tuple[int, int], inputs: int) -> nn.Sequential:
    """Vectors [B, inputs, 1, 1] -> images [B, 3, H, W] in [0, 1] of ``size`` (H, W).

    The encoder's layers in reverse order. Raises ValueError as ``grid`` does.
    """
    plan = _plan(size)
    channels = plan[-1][0]
    layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, channels, grid(size))]
    layers.append(nn.LeakyReLU(_SLOPE))
    befores = [width for width, _ in plan[-2::-1]] + [3]
    for (_, kernel), before in zip(reversed(plan), befores, strict=True):
        convolution = (
            nn.ConvTranspose2d(channels, before, kernel, 2, padding=1)
            if kernel == _HALVING
            else nn.Conv2d(channels, before, kernel, padding=1)
        )
        layers += [convolution, nn.LeakyReLU(_SLOPE)]
        channels = before
    return _drawn(nn.Sequential(*layers[:-1], nn.Sigmoid()))


def _drawn(network: nn.Sequential) -> nn.Sequential:
    """The network with weights that keep the variance of the signal, and biases of 0."""
    gain = nn.init.calculate_gain("leaky_relu", _SLOPE)
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            summed = layer.in_channels * math.prod(layer.kernel_size)
            if isinstance(layer, nn.ConvTranspose2d):
                # Kernels overlap only where the stride is shorter; a single cell has one each.
                summed = layer.in_channels * (4 if layer.stride == (2, 2) else 1)
            nn.init.normal_(layer.weight, std=gain / math.sqrt(summed))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


def _plan(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The convolutions of an encoder of images of ``size``."""
    return [_FIRST] * (_halvings(size) - 4) + list(_PLAN)


def _halvings(size: tuple[int, int]) -> int:
    return max(4, round(math.log2(max(size) / 8)))
