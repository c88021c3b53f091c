"""The network of a stage: an encoder and a decoder without skip connections."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench_harness.nn.unet import Padding, autoencoder, draw_weights


class Segmenter(nn.Module):
    """BGR images in [0, 1], [B, 3, H, W] -> raw maps [B, H, W], trained to equal the masks.

    H and W are multiples of 4. ``width`` is the number of channels of the first block: 128 in the
    paper, which gives 11.959681 million parameters. Weights are drawn from N(0, 0.02) by
    ``generator``. Images are padded with ``padding``. With ``half``, the layers compute in bfloat16
    while they are trained; the weights stay float32.
    """

    def __init__(
        self,
        width: int,
        generator: torch.Generator,
        padding: Padding = "zeros",
        *,
        half: bool = False,
    ) -> None:
        super().__init__()
        self.half_layers = half
        fine, middle, coarse = width, 2 * width, 4 * width
        self.layers = autoencoder(3, 1, (fine, middle, coarse), (middle, fine), padding)
        draw_weights(self.layers, generator)

    def forward(self, images: Tensor) -> Tensor:
        half = self.half_layers and self.training
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            maps: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return maps[:, 0].to(images.dtype)
