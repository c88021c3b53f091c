"""The network of a stage: an encoder and a decoder without skip connections."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Padding = Literal["zeros", "replicate"]


class Segmenter(nn.Module):
    """BGR images in [0, 1], [B, 3, H, W] -> raw maps [B, H, W], trained to equal the masks.

    H and W are multiples of 4. ``width`` is the number of channels of the first block: 128 in the
    paper, which gives 11.959681 million parameters. Weights are drawn from N(0, 0.02) by
    ``generator``. Images are padded with ``padding``.
    """

    def __init__(self, width: int, generator: torch.Generator, padding: Padding = "zeros") -> None:
        super().__init__()
        fine, middle, coarse = width, 2 * width, 4 * width
        blocks = partial(_blocks, padding)
        self.layers = nn.Sequential(
            *blocks(3, fine, fine),
            nn.MaxPool2d(2),
            *blocks(fine, middle, middle),
            nn.MaxPool2d(2),
            *blocks(middle, coarse, coarse),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            *blocks(coarse, coarse, coarse, middle),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            *blocks(middle, middle, middle, fine),
            nn.Conv2d(fine, 1, 3, padding=1, padding_mode=padding),
        )
        with torch.no_grad():
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                    mean = float(isinstance(layer, nn.BatchNorm2d))
                    layer.weight.normal_(mean, 0.02, generator=generator)
                    assert layer.bias is not None
                    layer.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return maps[:, 0]


def _blocks(padding: Padding, *channels: int) -> list[nn.Module]:
    """A 3 x 3 convolution, batch normalisation and ReLU from each channel count to the next."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        convolution = nn.Conv2d(before, after, 3, padding=1, padding_mode=padding)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers
