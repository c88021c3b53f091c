"""DRAEM's two networks: one reconstructs normal images, one segments what it changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench_harness.nn.sspcab import replace_penultimate
from adbench_harness.nn.unet import Padding, UNet, autoencoder

HALVINGS = 5
"""How often the second network halves its grid, so that sides are multiples of 2^5 px."""


class ReconstructAndSegment(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> their reconstructions, and logits [B, 2, H, W].

    The logits are those of "normal" and "anomalous". ``width`` is the number of channels of the
    first network's first level, twice that of the second one's: 128 in the paper, which gives
    69.05 and 28.37 million parameters. With ``sspcab``, an SSPCAB replaces the first network's last
    convolution but one.
    """

    def __init__(self, width: int, padding: Padding = "zeros", sspcab: bool = False) -> None:
        super().__init__()
        wide, narrow = width, width // 2
        self.reconstruct = autoencoder(
            3, 3, _levels(wide, 5), (4 * wide, 2 * wide, wide, wide), padding
        )
        self.segment = UNet(
            6, 2, _levels(narrow, 6), (8 * narrow, 4 * narrow, 2 * narrow, narrow, narrow), padding
        )
        if sspcab:
            replace_penultimate(self.reconstruct)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.contiguous(memory_format=torch.channels_last)
        rebuilt = self.reconstruct(images)
        return rebuilt, self.segment(torch.cat([rebuilt, images], 1))


def _levels(width: int, count: int) -> tuple[int, ...]:
    """Channels of ``count`` levels, which double up to eight times ``width``."""
    return tuple(min(2**level, 8) * width for level in range(count))
