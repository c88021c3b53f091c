"""The regions that are removed from an image."""

from __future__ import annotations

import torch
from torch import Tensor


def disjoint_masks(
    size: tuple[int, int], cell: int, parts: int, generator: torch.Generator
) -> Tensor:
    """Masks bool [parts, H, W] of cells of ``cell`` px; each pixel is in exactly one mask.

    The cells are dealt at random, so that the masks have as many cells as each other, give or take
    one.
    """
    rows, columns = (-(-side // cell) for side in size)
    dealt = torch.randperm(rows * columns, generator=generator) % parts
    of_pixel = dealt.view(rows, columns).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return of_pixel[: size[0], : size[1]] == torch.arange(parts)[:, None, None]
