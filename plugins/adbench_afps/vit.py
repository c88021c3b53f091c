"""The classifier: a small vision transformer on a set of patch embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, HIDDEN, LAYERS = 64, 8, 128, 4


class PatchViT(nn.Module):
    """Tokens [B, N, 64] -> logits [B, classes]: pre-norm encoder, mean over tokens, linear."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


class Block(nn.Module):
    """Self-attention and an MLP, each applied to normalised tokens and added to the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp_norm = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        joint = self.queries_keys_values(self.attention_norm(tokens))
        heads = joint.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # [3, B, heads, N, 8]
        attended = functional.scaled_dot_product_attention(*heads)
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        mixed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return mixed


def sincos(height: int, width: int) -> Tensor:
    """Sines and cosines of a cell's row and column, 16 frequencies each, [height * width, 64]."""
    frequencies = 10000 ** (-torch.arange(WIDTH // 4) / (WIDTH // 4))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (rows, columns)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)
