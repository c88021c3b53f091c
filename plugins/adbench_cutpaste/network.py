"""CutPaste's network: a ResNet-18 of any width, and the head that classifies its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN, PROJECTED = 512, 128
"""Units of the head's two hidden layers; the paper does not give them."""


class ResNet18(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> features [B, 8 * width], averaged over the last grid.

    ``width`` is the number of channels of the first layers: 64 in He et al. (CVPR 2016), whose
    network and initial weights these are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.blocks = nn.Sequential(
            *(
                _Block(widths[level] if first else widths[level + 1], widths[level + 1], stride)
                for level in range(4)
                for first, stride in ((True, 2 if level else 1), (False, 1))
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        grid = self.stem(images.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.blocks(grid).mean((2, 3))
        return features


class _Block(nn.Module):
    """Two 3 x 3 convolutions, whose result is added to the input."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if before != after or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, grids: Tensor) -> Tensor:
        return functional.relu(self.convolutions(grids) + self.shortcut(grids))


def head(features: int, classes: int) -> nn.Sequential:
    """A perceptron with two hidden layers: features [B, ``features``] -> logits [B, classes]."""
    return nn.Sequential(
        nn.Linear(features, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, PROJECTED),
        nn.BatchNorm1d(PROJECTED),
        nn.ReLU(inplace=True),
        nn.Linear(PROJECTED, classes),
    )
