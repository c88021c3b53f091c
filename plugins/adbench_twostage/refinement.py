"""Prepares the second stage's input: the first one's findings, extended to superpixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.superpixels import superpixels
from adbench_harness.types import Augmented

SEGMENTS = 250


@dataclass(frozen=True)
class Thresholds:
    """``rarity``: a grey value counts if it is at most this fraction as frequent as the commonest.

    ``grey``: pixels are kept above this grey value.
    """

    rarity: float
    grey: int


TRAIN = Thresholds(rarity=1.0, grey=0)
TEST = Thresholds(rarity=0.95, grey=30)


@dataclass(frozen=True, eq=False)
class Outlined(Augmented):
    """``labels`` [B, H, W] of the images' superpixels."""

    labels: Tensor

    @staticmethod
    def of(augmented: Augmented) -> Outlined:
        """The same with the labels."""
        images = augmented.images
        return Outlined(images, augmented.masks, augmented.kind, outlines(images))


def outlines(images: Tensor) -> Tensor:
    """Superpixels of RGB images [B, 3, H, W] in [0, 1], as labels [B, H, W].

    SLIC gets the pixels in their own order; the authors' code scrambles them.
    """
    pixels = (images * 255).round().to(torch.uint8)
    return superpixels(pixels, [SEGMENTS] * len(pixels)).to(images.device)


def refined(images: Tensor, labels: Tensor, maps: Tensor, thresholds: Thresholds) -> Tensor:
    """RGB images [B, 3, H, W], black outside the superpixels with kept pixels.

    ``labels`` [B, H, W] are those of the superpixels, ``maps`` [B, H, W] the first stage's.
    """
    labels = labels.flatten(1).long()
    touched = torch.zeros(len(labels), int(labels.max()) + 1, device=images.device)
    touched.scatter_reduce_(1, labels, kept(maps, thresholds).flatten(1).float(), "amax")
    return images * touched.gather(1, labels).view_as(maps)[:, None]


def kept(maps: Tensor, thresholds: Thresholds) -> Tensor:
    """The pixels, bool [B, H, W], left by the histogram, a 3 x 3 median and a threshold."""
    grey = (255 * maps.abs()).clamp(max=255).floor().long()
    flat = grey.flatten(1)
    counts = torch.zeros(len(grey), 256, device=maps.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    rare = counts <= thresholds.rarity * counts.amax(1, keepdim=True)
    remaining = (flat * rare.gather(1, flat)).view_as(maps).to(maps.dtype)
    padded = functional.pad(remaining[:, None], (1, 1, 1, 1), mode="replicate")
    windows = padded.unfold(2, 3, 1).unfold(3, 3, 1)
    return windows.flatten(4).median(4).values[:, 0] > thresholds.grey
