"""Networks that turn an image into another one of the same size: encoders and decoders of blocks.

A block is a 3 x 3 convolution, batch normalisation and ReLU. Between the levels of the encoder,
2 x 2 maximum pooling halves the grid; in the decoder, it is doubled bilinearly (corners aligned).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Padding = Literal["zeros", "replicate"]


def blocks(*channels: int, padding: Padding = "zeros") -> list[nn.Module]:
    """A block from each number of channels to the next, as three layers."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        convolution = nn.Conv2d(before, after, 3, padding=1, padding_mode=padding)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers


def autoencoder(
    inputs: int,
    outputs: int,
    encoder: Sequence[int],
    decoder: Sequence[int],
    padding: Padding = "zeros",
) -> nn.Sequential:
    """An encoder and a decoder without skip connections: [B, inputs, H, W] -> [B, outputs, H, W].

    ``encoder`` has the channels of each level, finest first, and two blocks for each. ``decoder``
    has the channels after each doubling of the grid, one less than ``encoder``, and three blocks
    for each, of which the last changes their number. A 3 x 3 convolution comes last. H and W are
    multiples of 2 to the number of doublings.
    """
    layers: list[nn.Module] = []
    channels = inputs
    for level, width in enumerate(encoder):
        layers += [nn.MaxPool2d(2)] if level else []
        layers += blocks(channels, width, width, padding=padding)
        channels = width
    for width in decoder:
        layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
        layers += blocks(channels, channels, channels, width, padding=padding)
        channels = width
    return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 3, padding=1, padding_mode=padding))


class UNet(nn.Module):
    """An encoder and a decoder with skip connections: [B, inputs, H, W] -> [B, outputs, H, W].

    ``encoder`` has the channels of each level, finest first, and two blocks for each. ``decoder``
    has the channels after each doubling of the grid, one less than ``encoder``: a block changes
    their number, and two combine them with the encoder's grid of the same level. A 3 x 3
    convolution comes last. H and W are multiples of 2 to the number of doublings. As in
    Ronneberger et al. (MICCAI 2015), with batch normalisation and with bilinear doubling.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        encoder: Sequence[int],
        decoder: Sequence[int],
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(*blocks(before, after, after, padding=padding))
            for before, after in pairwise((inputs, *encoder))
        )
        self.doubled, self.joined = nn.ModuleList(), nn.ModuleList()
        channels = encoder[-1]
        for skipped, width in zip(reversed(encoder[:-1]), decoder, strict=True):
            doubling = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.doubled.append(nn.Sequential(doubling, *blocks(channels, width, padding=padding)))
            self.joined.append(
                nn.Sequential(*blocks(width + skipped, width, width, padding=padding))
            )
            channels = width
        self.last = nn.Conv2d(channels, outputs, 3, padding=1, padding_mode=padding)

    def forward(self, images: Tensor) -> Tensor:
        grid, skipped = images, []
        for level, encode in enumerate(self.encoder):
            grid = encode(functional.max_pool2d(grid, 2) if level else grid)
            skipped.append(grid)
        skipped.pop()
        for double, join in zip(self.doubled, self.joined, strict=True):
            grid = join(torch.cat([double(grid), skipped.pop()], 1))
        made: Tensor = self.last(grid)
        return made


def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of convolutions from N(0, 0.02) and scales from N(1, 0.02); biases are 0.

    In the order of the layers. So do the public codes of DRAEM (Zavrtanik et al., ICCV 2021) and of
    the two-stage segmentation (Shah and Kim, 2022).
    """
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                mean = float(isinstance(layer, nn.BatchNorm2d))
                layer.weight.normal_(mean, 0.02, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
