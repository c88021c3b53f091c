"""The levels of a spatial port, combined into one map of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from adbench_harness.nn.maps import upsample
from adbench_harness.types import Level


def overlay(
    levels: Sequence[Level], size: tuple[int, int], combine: Literal["mean", "max"] = "mean"
) -> Tensor:
    """One map [B, H, W] of an input of ``size`` (H, W) px, from levels [B, h, w].

    Each level is resized bilinearly to its box; invalid cells do not affect their neighbours. A
    pixel is the mean (or maximum) of the levels that cover it; a pixel that no level covers gets
    its image's minimum.
    """
    layers, covers = zip(*(_laid(level, size) for level in levels), strict=True)
    values, covered = torch.stack(layers), torch.stack(covers)
    if combine == "mean":
        merged = values.sum(0) / covered.sum(0).clamp(min=1)
    else:
        merged = values.masked_fill(~covered, -torch.inf).amax(0)
    anywhere = covered.any(0)
    lowest = merged.masked_fill(~anywhere, torch.inf).amin((1, 2), keepdim=True)
    return torch.where(anywhere, merged, lowest)


def located(levels: Sequence[Level]) -> bool:
    """Whether any level has more than one cell; otherwise it says nothing about places."""
    return any(level.values.shape[1:3] != (1, 1) for level in levels)


def _laid(level: Level, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The level on a canvas of zeros [B, H, W], and the pixels that it covers, bool [1, H, W]."""
    top, left, bottom, right = level.box or (0, 0, *size)
    box = bottom - top, right - left
    values = level.values
    valid = torch.ones_like(values[0], dtype=torch.bool) if level.valid is None else level.valid
    weight = upsample(valid[None].to(values.dtype), box)
    known = weight >= 0.5
    values = (upsample(values.masked_fill(~valid, 0), box) / weight).masked_fill(~known, 0)
    canvas = values.new_zeros(len(values), *size)
    canvas[:, top:bottom, left:right] = values
    cover = known.new_zeros(1, *size)
    cover[:, top:bottom, left:right] = known
    return canvas, cover
