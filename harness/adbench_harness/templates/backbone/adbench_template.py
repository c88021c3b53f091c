"""A backbone: the gradients of an image at several scales, from fixed filters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Backbone
from torch import Tensor, nn
from torch.nn import functional

STRIDES = {"layer1": 4, "layer2": 8, "layer3": 16}


class Slopes(nn.Module):
    """Colour, and the strength of its horizontal and vertical gradients, averaged over cells."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        kernels = torch.stack([across, across.T])[:, None].repeat(3, 1, 1, 1)
        self.kernels: Tensor
        self.register_buffer("kernels", kernels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Float32 RGB [B, 3, H, W] in [0, 1] -> each layer's grid [B, 9, h, w]."""
        return {layer: self._grid(images, STRIDES[layer]) for layer in self.layers}

    def _grid(self, images: Tensor, stride: int) -> Tensor:
        """Gradients at a quarter of the stride, averaged over the cells."""
        small = functional.avg_pool2d(images - 0.5, stride // 4)
        framed = functional.pad(small, (1, 1, 1, 1), mode="replicate")
        slopes = functional.conv2d(framed, self.kernels, groups=3).abs()
        return functional.avg_pool2d(torch.cat([small, slopes], 1), 4)


class Template(Backbone):
    """Sobel gradients at a ResNet's strides; needs no weights."""

    name = "template"
    summary = "Colour and its gradients at three scales; nothing is learned."
    version = 1
    layers = tuple(STRIDES)

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """A module that returns the requested ``layers``."""
        return Slopes(layers)


@hookimpl
def adbench_backbones() -> Iterable[type[Backbone]]:
    return [Template]
