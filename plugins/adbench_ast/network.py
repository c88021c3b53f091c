"""The student of AST: a residual network that imitates the teacher's latents."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

BLOCKS = 4


class Student(nn.Module):
    """Grids [B, inputs, h, w] -> [B, outputs, h, w], by residual blocks of ``hidden`` channels."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.blocks = nn.ModuleList(_block(hidden) for _ in range(BLOCKS))
        self.last = nn.Conv2d(hidden, outputs, 3, padding=1)

    def forward(self, grids: Tensor) -> Tensor:
        hidden = functional.leaky_relu(self.first(grids))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        imitated: Tensor = self.last(hidden)
        return imitated


def _block(channels: int) -> nn.Module:
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.LeakyReLU(),
            )
            for _ in range(2)
        )
    )
