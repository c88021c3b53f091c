"""A transformer that predicts a hidden patch from the patches of the window around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

WIDER = 4
"""Width of a block's hidden layer, in widths of its tokens."""


class InpaintingTransformer(nn.Module):
    """Windows of patches -> the patch that is hidden in each.

    ``positions`` is the number of patches of an image, ``values`` that of a patch's values.
    """

    def __init__(self, positions: int, values: int, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(values, width)
        self.position = nn.Parameter(0.02 * torch.randn(positions, width))
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.predict = nn.Linear(width, values)

    def forward(self, patches: Tensor, places: Tensor, hidden: Tensor) -> Tensor:
        """The values [B, V] of the hidden patches.

        ``patches`` [B, T, V] are those of each window, ``places`` int64 [B, T] where they are in
        the image, and ``hidden`` int64 [B] which one of the window is hidden. Block i of the second
        half also gets what block (number of blocks - i) returned.
        """
        chosen = torch.arange(patches.shape[1], device=hidden.device) == hidden[:, None]
        tokens = torch.where(chosen[..., None], self.hidden, self.embed(patches))
        tokens = tokens + self.position[places]
        returned: list[Tensor] = []
        count = len(self.blocks)
        for i, block in enumerate(self.blocks):
            if i > count // 2:
                tokens = tokens + returned[count - i]
            tokens = block(tokens)
            returned.append(tokens)
        predicted: Tensor = self.predict(tokens.mean(1))
        return predicted


class Block(nn.Module):
    """Attention and a perceptron, each after a normalisation and with a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, WIDER * width),
            nn.GELU(),
            nn.Linear(WIDER * width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(tokens)
        attended: Tensor = tokens + self.perceptron(tokens)
        return attended


class Attention(nn.Module):
    """Self-attention whose queries and keys come from a perceptron of two layers (MFSA)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = (
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width // 2))
            for _ in range(2)
        )
        self.value = nn.Linear(width, width)
        self.merge = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        query, key, value = (
            project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        attended = scaled_dot_product_attention(query, key, value)
        merged: Tensor = self.merge(attended.transpose(1, 2).flatten(2))
        return merged
