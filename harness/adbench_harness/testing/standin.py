"""The network that replaces every backbone while a component is checked."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.results.trial import Weights
from adbench_harness.running.features import FeatureStore
from adbench_harness.types import Backbone

_CHANNELS = (3, 32, 48, 64, 96)
_VECTORS = ("avgpool", "cls")


class StandIn(Backbone):
    """A small convolutional network with fixed random weights and layers of any name."""

    name = "stand-in"
    summary = "A small untrained network with layers of any name."
    version = 1
    layers = ()

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """The stages that ``layers`` need; their weights do not depend on the number of stages."""
        return _Network(layers)


class _Network(nn.Module):
    """Images [B, 3, H, W] -> grids of 32, 48, 64 and 96 channels at strides of 4, 8, 16 and 32.

    The last number in a layer's name, limited to 4, is its stage; a name without a number means the
    last stage. ``avgpool`` and ``cls`` are vectors [B, 96].
    """

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        with torch.random.fork_rng(devices=()), torch.no_grad():
            torch.manual_seed(0)
            sizes = [torch.rand(8, 3, side, side) for side in (8, 16, 32, 64)]
            noise = sum(functional.interpolate(size, 64, mode="bilinear") for size in sizes) / 4
            depth = max(map(_stage_of, layers)) + 1
            self.stages = nn.ModuleList(_stage(*pair) for pair in list(pairwise(_CHANNELS))[:depth])
            # Batch normalisation learns the scale of the features from the noise.
            self(noise)
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        grids = [images]
        for stage in self.stages:
            grids.append(stage(grids[-1]))
        found = {layer: grids[1 + _stage_of(layer)] for layer in self.layers}
        return {n: grid.mean((2, 3)) if n in _VECTORS else grid for n, grid in found.items()}


def _stage(before: int, after: int) -> nn.Module:
    stride = 4 if before == 3 else 2
    return nn.Sequential(
        nn.Conv2d(before, after, 2 * stride - 1, stride, stride - 1, bias=False),
        nn.ReLU(),
        nn.BatchNorm2d(after, momentum=None),
    )


def _stage_of(layer: str) -> int:
    last = len(_CHANNELS) - 2
    numbers = re.findall(r"\d+", layer)
    return min(max(int(numbers[-1]) - 1, 0), last) if numbers else last


@cache
def store() -> FeatureStore:
    """The feature store from which ``tools.features`` and ``tools.trainable`` take the network."""
    return FeatureStore(StandIn(), Weights(StandIn.name, StandIn.version), torch.device("cpu"))
