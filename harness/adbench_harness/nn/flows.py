"""Normalizing flows: invertible networks that turn features into latents of known density.

A flow is a sequence of affine couplings, in which one half of the channels scales and shifts the
other half (Dinh et al., Density estimation using Real NVP, ICLR 2017). All tensors have the
channels in dimension 1, and any number of positions after it. A flow transforms the grids of one
or more scales at once (``Grids``, one tensor [B, C, ...] for each scale); only the subnetwork of a
coupling may combine scales or positions.

A ``Subnetwork`` is a function that creates the network of a coupling from its numbers of input and
output channels. The network takes one tensor for each scale, and returns as many (for one scale,
the tensor itself).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Grids = tuple[Tensor, ...]
Subnetwork = Callable[[int, int], nn.Module]


class Coupling(nn.Module):
    """A fixed random permutation of ``channels``, followed by an affine coupling.

    The first half of the channels scales and shifts the second; if ``both``, the result then scales
    and shifts the first half. The logarithm of a scale is at most ``clamp``, by a soft clamp.
    ``conditions`` are the channels of a condition that the subnetworks see too. The permutation and
    the weights are drawn from torch's global generator.
    """

    def __init__(
        self,
        channels: int,
        subnetwork: Subnetwork,
        clamp: float,
        *,
        both: bool = False,
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"a coupling needs at least 2 channels, not {channels}")
        self.clamp = clamp
        self.halves = [channels - channels // 2, channels // 2]
        self.order: Tensor
        self.register_buffer("order", torch.randperm(channels))
        one, other = self.halves
        self.second = subnetwork(one + conditions, 2 * other)
        self.first = subnetwork(other + conditions, 2 * one) if both else None

    def forward(self, grids: Grids, conditions: Grids = ()) -> tuple[Grids, Grids]:
        """The transformed grids, and their log-determinants [B, ...] at each position."""
        first, second = self._split(tuple(grid[:, self.order] for grid in grids))
        scales, shifts = self._affine(self.second, first, conditions)
        second = _forward(second, scales, shifts)
        total = tuple(scale.sum(1) for scale in scales)
        if self.first is not None:
            scales, shifts = self._affine(self.first, second, conditions)
            first = _forward(first, scales, shifts)
            total = _added(total, tuple(scale.sum(1) for scale in scales))
        return _joined(first, second), total

    def inverse(self, grids: Grids, conditions: Grids = ()) -> Grids:
        """The grids of which ``forward`` makes ``grids``."""
        first, second = self._split(grids)
        if self.first is not None:
            first = _backward(first, *self._affine(self.first, second, conditions))
        second = _backward(second, *self._affine(self.second, first, conditions))
        order = self.order.argsort()
        return tuple(grid[:, order] for grid in _joined(first, second))

    def _split(self, grids: Grids) -> tuple[Grids, Grids]:
        first, second = zip(*(torch.split(grid, self.halves, 1) for grid in grids), strict=True)
        return first, second

    def _affine(self, network: nn.Module, kept: Grids, conditions: Grids) -> tuple[Grids, Grids]:
        """The logarithms of the scales, and the shifts."""
        found = network(*(_joined(kept, conditions) if conditions else kept))
        pairs = [out.chunk(2, 1) for out in ((found,) if isinstance(found, Tensor) else found)]
        scales = tuple(soft_clamp(scale, self.clamp) for scale, _ in pairs)
        return scales, tuple(shift for _, shift in pairs)


class Flow(nn.Module):
    """Couplings, one after the other.

    >>> flow = Flow(Coupling(8, convolutions(16), clamp=2) for _ in range(4))
    >>> (latents,), (log_determinants,) = flow((torch.rand(1, 8, 5, 5),))
    """

    def __init__(self, couplings: Iterable[Coupling]) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(couplings)

    def forward(self, grids: Grids, conditions: Grids = ()) -> tuple[Grids, Grids]:
        """The latents [B, C, ...] of grids, and the log-determinants [B, ...] at each position."""
        total: Grids = tuple(torch.zeros_like(grid[:, 0]) for grid in grids)
        for coupling in self.couplings:
            grids, found = coupling(grids, conditions)
            total = _added(total, found)
        return grids, total

    def inverse(self, latents: Grids, conditions: Grids = ()) -> Grids:
        """The grids that have these latents."""
        for coupling in reversed(self.couplings):
            latents = coupling.inverse(latents, conditions)  # type: ignore[operator]
        return latents


class CrossScale(nn.Module):
    """The subnetwork of a coupling that combines neighbouring scales, finest first.

    Each grid goes through a convolution to ``hidden`` channels and a LeakyReLU. A scale's output is
    the sum of convolutions of its own hidden grid and of those of the next finer scale (stride 2)
    and the next coarser scale (resized bilinearly), times a learned factor that starts at 0. The
    source is CS-Flow: Rudolph et al., Fully convolutional cross-scale-flows, WACV 2022.
    """

    def __init__(self, scales: int, inputs: int, outputs: int, hidden: int, kernel: int) -> None:
        super().__init__()

        def convolution(before: int, after: int, stride: int = 1) -> nn.Module:
            return nn.Conv2d(before, after, kernel, stride, kernel // 2)

        self.first = nn.ModuleList(convolution(inputs, hidden) for _ in range(scales))
        self.same = nn.ModuleList(convolution(hidden, outputs) for _ in range(scales))
        self.down = nn.ModuleList(convolution(hidden, outputs, 2) for _ in range(scales - 1))
        self.up = nn.ModuleList(convolution(hidden, outputs) for _ in range(scales - 1))
        self.factors = nn.Parameter(torch.zeros(scales))

    def forward(self, *grids: Tensor) -> Grids:
        """As many grids, of ``outputs`` channels."""
        hidden = [
            functional.leaky_relu(first(grid))
            for first, grid in zip(self.first, grids, strict=True)
        ]
        sums = []
        for scale, (same, own) in enumerate(zip(self.same, hidden, strict=True)):
            total = same(own)
            if scale > 0:
                total = total + _fitted(self.down[scale - 1](hidden[scale - 1]), total)
            if scale + 1 < len(hidden):
                total = total + self.up[scale](_fitted(hidden[scale + 1], total))
            sums.append(total * self.factors[scale])
        return tuple(sums)


def convolutions(hidden: int, kernel: int = 3) -> Subnetwork:
    """Two convolutions with zero padding, and ReLU between them."""

    def network(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, hidden, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv2d(hidden, outputs, kernel, padding=kernel // 2),
        )

    return network


def perceptron(hidden: int) -> Subnetwork:
    """A perceptron for vectors [B, C], with one hidden layer and ReLU."""

    def network(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    return network


def soft_clamp(values: Tensor, limit: float) -> Tensor:
    """Values limited to ``limit`` on both sides, smoothly: 2 / pi * limit * atan(v / limit)."""
    return 2 / math.pi * limit * (values / limit).atan()


def log_likelihood(latents: Tensor, log_determinants: Tensor) -> Tensor:
    """Log-likelihood [B, ...] of latents [B, C, ...] that are standard normal for normal data."""
    constant = 0.5 * math.log(2 * math.pi) * latents.shape[1]
    return log_determinants - 0.5 * latents.square().sum(1) - constant


def negative_log_likelihood(
    latents: Sequence[Tensor], log_determinants: Sequence[Tensor]
) -> Tensor:
    """The loss of an image, mean over the batch: -log-likelihood, summed over scales and positions.

    The constant that depends only on the number of values is left out.
    """
    scales = zip(latents, log_determinants, strict=True)
    sums = [0.5 * z.square().sum() - determinant.sum() for z, determinant in scales]
    return torch.stack(sums).sum() / len(latents[0])


def _forward(grids: Grids, scales: Grids, shifts: Grids) -> Grids:
    return tuple(x * s.exp() + t for x, s, t in zip(grids, scales, shifts, strict=True))


def _backward(grids: Grids, scales: Grids, shifts: Grids) -> Grids:
    return tuple((y - t) * (-s).exp() for y, s, t in zip(grids, scales, shifts, strict=True))


def _joined(one: Grids, other: Grids) -> Grids:
    return tuple(torch.cat(pair, 1) for pair in zip(one, other, strict=True))


def _added(one: Grids, other: Grids) -> Grids:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _fitted(grid: Tensor, like: Tensor) -> Tensor:
    """A grid resized to the positions of another one, where its size differs."""
    if grid.shape[2:] == like.shape[2:]:
        return grid
    return functional.interpolate(grid, like.shape[2:], mode="bilinear", align_corners=False)
