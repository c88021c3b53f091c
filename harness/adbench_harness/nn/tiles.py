"""Pieces of images: drawn at random, and laid over an image without gaps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def random_crops(images: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """One piece [B, C, h, w] of ``size`` (h, w) of each image [B, C, H, W], at a random place.

    Raises ValueError if an image is smaller.
    """
    spare = [whole - part for whole, part in zip(images.shape[2:], size, strict=True)]
    if min(spare) < 0:
        raise ValueError(f"no piece of {list(size)} px fits into {list(images.shape[2:])} px")
    starts = zip(
        *(torch.randint(s + 1, (len(images),), generator=generator).tolist() for s in spare),
        strict=True,
    )
    return torch.stack(
        [
            image[:, top : top + size[0], left : left + size[1]]
            for image, (top, left) in zip(images, starts, strict=True)
        ]
    )


def by_tiles(
    change: Callable[[Tensor], Tensor], images: Tensor, size: tuple[int, int], stride: int
) -> Tensor:
    """Images [B, C, H, W], changed tile by tile; where tiles overlap, the mean of what they give.

    ``change`` gets tiles [B, C, h, w] of ``size`` (h, w) and returns as many, of D channels; the
    result is [B, D, H, W]. Tiles are ``stride`` px apart; the last of a row or column ends at the
    border. Raises ValueError if an image is smaller than a tile, or if tiles leave gaps.
    """
    places = [
        (top, left)
        for top in _starts(images.shape[2], size[0], stride)
        for left in _starts(images.shape[3], size[1], stride)
    ]
    total, count = None, torch.zeros_like(images[:1, :1])
    for top, left in places:
        rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
        made = change(images[:, :, rows, columns])
        if total is None:
            total = made.new_zeros(len(images), made.shape[1], *images.shape[2:])
        total[:, :, rows, columns] += made
        count[:, :, rows, columns] += 1
    assert total is not None, "an image has at least one tile"
    return total / count


def _starts(whole: int, part: int, stride: int) -> list[int]:
    if part > whole:
        raise ValueError(f"a tile of {part} px does not fit into {whole} px")
    if stride > part:
        raise ValueError(f"tiles of {part} px that are {stride} px apart leave gaps")
    return [*range(0, whole - part, stride), whole - part]
