"""Patch SVDD's encoder of patches of 32 and 64 px, and its losses."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL, LARGE = 32, 64
"""Sides of the patches in px; the network's layers are made for them."""
DEPTH = 64
"""Dimension of a patch's feature."""
STRIDE = 2
"""Distance in px of the patches that the small encoder sees in an image."""
SLOPE = 0.1
DIRECTIONS = torch.tensor([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)])


class Encoder(nn.Module):
    """Features of all patches of an image, without padding, so that each sees only its patch.

    A patch of 64 px is encoded from the features of its four quarters. Images are standardised by
    ``mean`` and ``std`` [3, 1, 1], which the training images set.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))
        widths = [3, width, 2 * width, 4 * width, 4 * width, 2 * width, width, width, DEPTH]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            stride = STRIDE if before == 3 else 1
            layers += [nn.Conv2d(before, after, 3, stride), nn.LeakyReLU(SLOPE)]
        self.small = nn.Sequential(*layers[:-1], nn.Tanh())
        self.quarters = nn.Conv2d(DEPTH, 4 * width, 2)
        self.large = nn.Conv2d(4 * width, DEPTH, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # torch's own would shrink the features more with each layer, to nearly a constant.
                nn.init.kaiming_normal_(module.weight, SLOPE)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, 64, h, w] of the patches of 32 px, every 2 px."""
        features: Tensor = self.small((images - self.mean) / self.std)
        return features

    def merged(self, small: Tensor, apart: int) -> Tensor:
        """Features of the patches of 64 px, from a grid whose cells ``apart`` are 32 px apart."""
        quarters = functional.conv2d(
            small, self.quarters.weight, self.quarters.bias, dilation=apart
        )
        return torch.tanh(self.large(functional.leaky_relu(quarters, SLOPE)))


class Losses(nn.Module):
    """The losses of pairs of patches of side ``side``, by their features in a grid of ``STRIDE``.

    A classifier has to tell from two features in which of eight directions the second patch is,
    three quarters of a side away and up to a quarter of a side astray. The features of patches
    that are up to an eighth of a side apart have to be close (SVDD').
    """

    def __init__(self, side: int, weight: float) -> None:
        super().__init__()
        self.cells = side // STRIDE
        self.weight = weight
        self.classifier = nn.Sequential(
            nn.Linear(DEPTH, 128),
            nn.LeakyReLU(SLOPE),
            nn.Linear(128, 128),
            nn.LeakyReLU(SLOPE),
            nn.Linear(128, len(DIRECTIONS)),
        )

    def forward(self, features: Tensor, pairs: int, generator: torch.Generator) -> Tensor:
        """The mean cross-entropy and SVDD' of ``pairs`` pairs each of every image's features.

        ``features`` [B, 64, h, w] are those of the patches of all images.
        """
        count = pairs * len(features)
        directions = torch.randint(len(DIRECTIONS), (count,), generator=generator)
        astray = _within(self.cells // 4, count, generator)
        here, there = _pairs(
            features, DIRECTIONS[directions] * (3 * self.cells // 4) + astray, generator
        )
        logits = self.classifier(there - here)
        loss = functional.cross_entropy(logits, directions.to(logits.device))
        here, there = _pairs(features, _within(self.cells // 8, count, generator), generator)
        close = torch.linalg.vector_norm(there - here, dim=1).mean()
        return torch.add(loss, close, alpha=self.weight)


def _within(limit: int, count: int, generator: torch.Generator) -> Tensor:
    """Random offsets [count, 2] of up to ``limit`` cells in both axes."""
    return torch.randint(-limit, limit + 1, (count, 2), generator=generator)


def _pairs(features: Tensor, offsets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features [N, 64] of random cells, N / B of each image, and of those at ``offsets`` [N, 2]."""
    size = torch.tensor(features.shape[-2:])
    low = (-offsets).clamp(min=0)
    free = size - offsets.abs()
    first = low + (torch.rand(offsets.shape, generator=generator) * free).long()
    images = torch.arange(len(features)).repeat_interleave(len(offsets) // len(features))
    where = [(images, *cells.T) for cells in (first, first + offsets)]
    columns = features.permute(0, 2, 3, 1)
    here, there = (columns[tuple(w.to(features.device) for w in place)] for place in where)
    return here, there
