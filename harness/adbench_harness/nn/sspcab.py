"""SSPCAB: a convolution that does not see its centre, followed by channel attention.

Ristea et al., "Self-Supervised Predictive Convolutional Attentive Block for Anomaly Detection",
CVPR 2022. It replaces a convolution of another method's network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHT = 0.1
"""Of the blocks' error in a loss."""


class SSPCAB(nn.Module):
    """Grids [B, channels, h, w] -> the same shape, predicted from what is around each cell.

    Four 1 x 1 convolutions see the cells ``dilation`` + 1 away towards the four corners (zeros
    beyond the border). Their sum goes through ReLU and squeeze-and-excitation, which reduces the
    channels by ``reduction``.
    """

    def __init__(self, channels: int, dilation: int = 1, reduction: int = 8) -> None:
        super().__init__()
        self.reach = dilation + 1
        self.corners = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(4))
        hidden = max(1, channels // reduction)
        self.attention = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def masked(self, grids: Tensor) -> Tensor:
        """The sum of the four convolutions, which leaves out each cell's own column and row."""
        far = 2 * self.reach
        padded = functional.pad(grids, (self.reach,) * 4)
        height, width = grids.shape[2:]
        places = [(down, right) for down in (0, far) for right in (0, far)]
        seen = [
            corner(padded[:, :, down : down + height, right : right + width])
            for corner, (down, right) in zip(self.corners, places, strict=True)
        ]
        return torch.stack(seen).sum(0)

    def forward(self, grids: Tensor) -> Tensor:
        predicted = functional.relu(self.masked(grids))
        made: Tensor = predicted * self.attention(predicted.mean((2, 3)))[:, :, None, None]
        return made


def replace_penultimate(network: nn.Module) -> None:
    """Replace the last convolution but one of ``network`` by an SSPCAB, as in its paper.

    Raises ValueError if that convolution changes the number of channels or the grid.
    """
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)][-2]
    if old.in_channels != old.out_channels or set(old.stride) != {1}:
        raise ValueError(
            f"an SSPCAB cannot replace '{name}', {old}, whose output has another shape"
        )
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, SSPCAB(old.out_channels))


@contextmanager
def prediction_errors(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the mean squared error of what each SSPCAB of ``network`` predicts meanwhile."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(
            lambda _, given, made: found.append(functional.mse_loss(made, given[0]))
        )
        for module in network.modules()
        if isinstance(module, SSPCAB)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
