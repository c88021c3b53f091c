"""Anomaly-focused patch selection: distinct patches drawn around the worst one."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_weights(centres: Tensor, size: tuple[int, int], sd: float) -> Tensor:
    """Log-probability [B, h * w] that a rounded normal draw is in each cell of the grid.

    ``centres`` [B] are the worst patches' indices in the flattened grid of ``size`` (h, w). Rows
    are drawn with a standard deviation of ``sd * h``, columns with ``sd * w``. Draws outside the
    grid are rejected, so the probabilities need no normalisation.
    """
    height, width = size
    rows = _log_mass(centres // width, height, sd)
    columns = _log_mass(centres % width, width, sd)
    return (rows[:, :, None] + columns[:, None, :]).flatten(1)


def draw_distinct(log_weights: Tensor, noise: Tensor, count: int) -> Tensor:
    """Indices [B, count] of distinct cells, drawn one by one with the given weights [B, cells].

    ``noise`` [B, cells] is exponential. Repeating weighted draws until ``count`` of them are
    distinct has the same distribution as taking the cells whose exponential clocks, with the
    weights as rates, ring first (Efraimidis and Spirakis, 2006). This needs no repetition even if
    the weights are narrow. If fewer cells have a positive weight, all of them are taken.
    """
    rings = log_weights - noise.log()
    possible = int(log_weights.isfinite().sum(1).min())
    return rings.topk(min(count, possible), dim=1).indices


def _log_mass(centres: Tensor, side: int, sd: float) -> Tensor:
    """Log-probability [B, side] that a normal draw around each centre rounds to each cell."""
    offsets = torch.arange(side, device=centres.device) - centres[:, None]
    # By symmetry for the cells left of the centre, whose tail is accurate far away.
    nearer = (0.5 - offsets.abs().double()) / (sd * side)
    farther = nearer - 1 / (sd * side)
    upper: Tensor = torch.special.log_ndtr(nearer)
    share: Tensor = (torch.special.log_ndtr(farther) - upper).exp()
    return upper + torch.log1p(-share)
