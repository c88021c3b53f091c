"""Reverse Distillation's student: a one-class bottleneck, and a decoder that mirrors the teacher.

Its blocks are those of ResNet (He et al., CVPR 2016). A decoder's block doubles the grid with a
transposed 2 x 2 convolution where the encoder's halves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Block = Literal["basic", "bottleneck"]
Step = Literal["halve", "keep", "double"]
BLOCKS: dict[Block, tuple[int, ...]] = {"basic": (2, 2, 2), "bottleneck": (3, 6, 4)}
"""Blocks of the decoder's stages, coarsest first: those of a ResNet-18's and a ResNet-50's layers
4, 3 and 2, which halve the grid that the stage doubles."""
FOURTH: dict[Block, int] = {"basic": 2, "bottleneck": 3}
"""Blocks of a ResNet's layer 4."""


class Student(nn.Module):
    """A teacher's grids [B, C, h, w], finest first -> the same grids, rebuilt from an embedding.

    ``channels`` are those of the grids, each of which has half the height and width of the one
    before it.
    """

    def __init__(self, channels: Sequence[int], block: Block) -> None:
        super().__init__()
        coarsest = channels[-1]
        self.reduce = nn.ModuleList(
            _halved(count, len(channels) - 1 - place) for place, count in enumerate(channels)
        )
        fused = sum(c * 2 ** (len(channels) - 1 - place) for place, c in enumerate(channels))
        self.embed = _stage(block, fused, 2 * coarsest, FOURTH[block], "halve")
        widths = (2 * coarsest, *reversed(channels))
        depths = (*BLOCKS[block], *[BLOCKS[block][-1]] * len(channels))
        self.decode = nn.ModuleList(
            _stage(block, before, after, depth, "double")
            for before, after, depth in zip(widths, widths[1:], depths, strict=False)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        reduced = [part(grid) for part, grid in zip(self.reduce, grids, strict=True)]
        values = self.embed(torch.cat(reduced, 1))
        rebuilt = []
        for stage in self.decode:
            values = stage(values)
            rebuilt.append(values)
        return rebuilt[::-1]


def _halved(channels: int, times: int) -> nn.Module:
    """3 x 3 convolutions that halve the grid and double the channels, ``times`` times."""
    layers: list[nn.Module] = []
    for _ in range(times):
        layers += [_conv(channels, 2 * channels, 3, "halve"), nn.ReLU()]
        channels *= 2
    return nn.Sequential(*layers)


def _stage(block: Block, before: int, after: int, count: int, step: Step) -> nn.Module:
    first = _Residual(block, before, after, step)
    return nn.Sequential(first, *(_Residual(block, after, after, "keep") for _ in range(count - 1)))


class _Residual(nn.Module):
    """A residual block; a bottleneck has half of its output's channels inside, as Wide ResNet."""

    def __init__(self, block: Block, before: int, after: int, step: Step) -> None:
        super().__init__()
        if block == "basic":
            self.body = nn.Sequential(
                _conv(before, after, 3, step), nn.ReLU(), _conv(after, after, 3, "keep")
            )
        else:
            width = after // 2
            self.body = nn.Sequential(
                *(_conv(before, width, 1, "keep"), nn.ReLU()),
                *(_conv(width, width, 3, step), nn.ReLU()),
                _conv(width, after, 1, "keep"),
            )
        same = before == after and step == "keep"
        self.shortcut = nn.Identity() if same else _conv(before, after, 1, step)

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(self.body(values) + self.shortcut(values))


def _conv(before: int, after: int, side: int, step: Step) -> nn.Module:
    """A convolution with batch normalisation; one that doubles is a transposed 2 x 2."""
    conv: nn.Module
    if step == "double":
        conv = nn.ConvTranspose2d(before, after, 2, 2, bias=False)
    else:
        stride = 2 if step == "halve" else 1
        conv = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))
