"""EfficientNet-Lite0 with the parameter names of its published PyTorch weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

STAGES: Final = (
    # blocks, side of the kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM: Final = 32
HEAD: Final = 1280
ENDS: Final = {"layer1": 3, "layer2": 5, "layer3": 11, "layer4": 16}
"""The number of blocks before the end of a layer: the last block of each stride from 4 to 32."""
LAYERS: Final = (*ENDS, "avgpool")


class EfficientNetLite0(nn.Module):
    """The part of EfficientNet-Lite0 that the requested ``layers`` need.

    Float32 RGB [B, 3, H, W] in [0, 1] -> ``layer1`` [B, 24, H/4, W/4], ``layer2`` [B, 40, H/8,
    W/8], ``layer3`` [B, 112, H/16, W/16], ``layer4`` [B, 320, H/32, W/32], sizes rounded up, and
    ``avgpool`` [B, 1280], the input of the classifier. Tan, Le: EfficientNet, ICML 2019; Lite has
    no squeeze-and-excitation and ReLU6 as its activation.
    """

    def __init__(self, layers: Sequence[str] = LAYERS) -> None:
        super().__init__()
        self.layers = tuple(layers)
        depth = max(ENDS.get(layer, ENDS["layer4"]) for layer in layers)
        self._conv_stem = SameConv(3, STEM, 3, stride=2)
        self._bn0 = _norm(STEM)
        blocks: list[nn.Module] = []
        channels = STEM
        for count, kernel, stride, expansion, made in STAGES:
            for index in range(count):
                blocks.append(Block(channels, made, kernel, 1 if index else stride, expansion))
                channels = made
        self._blocks = nn.ModuleList(blocks[:depth])
        if "avgpool" in layers:
            self._conv_head = SameConv(channels, HEAD, 1)
            self._bn1 = _norm(HEAD)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = (255 * images - 127) / 128
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        grids: dict[str, Tensor] = {}
        for done, block in enumerate(self._blocks, 1):
            x = block(x)
            grids |= {layer: x for layer, end in ENDS.items() if end == done}
        if "avgpool" in self.layers:
            x = functional.relu6(self._bn1(self._conv_head(x)))
            grids["avgpool"] = x.mean((2, 3))
        return {layer: grids[layer] for layer in self.layers}


class Block(nn.Module):
    """An inverted residual block: expand, filter each channel, project."""

    def __init__(self, given: int, made: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = given * expansion
        self.expands = expansion > 1
        self.residual = stride == 1 and given == made
        if self.expands:
            self._expand_conv = SameConv(given, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = SameConv(inner, made, 1)
        self._bn2 = _norm(made)

    def forward(self, given: Tensor) -> Tensor:
        x = given
        if self.expands:
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        made: Tensor = self._bn2(self._project_conv(x))
        return made + given if self.residual else made


class SameConv(nn.Conv2d):
    """A convolution that is padded as in TensorFlow: an odd margin is wider below and right."""

    def __init__(self, given: int, made: int, kernel: int, stride: int = 1, groups: int = 1):
        # With stride 1 both sides of the margin are equal.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(given, made, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            down, across = (
                max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]
            )
            x = functional.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
