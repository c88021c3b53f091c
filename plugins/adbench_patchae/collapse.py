"""How far features have collapsed: their directions, and what they say of brightness."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLE = 20_000
"""Vectors that are looked at, evenly spaced among all."""


def collapse(features: Tensor, brightness: Tensor) -> tuple[float, float]:
    """The effective rank of features [n, D], and the share of variance that brightness explains.

    The effective rank is the exponential of the entropy of the covariance's normalised eigenvalues
    (Roy and Vetterli, EUSIPCO 2007): 1 if all features lie on a line, D if all directions vary
    alike. The share is that of the total variance which the regression of all D values on the
    patches' mean ``brightness`` [n] explains, in [0, 1]. Both are 0 without any variance.
    """
    step = -(-len(features) // SAMPLE)
    centred, light = features[::step].double(), brightness[::step].double()
    centred, light = centred - centred.mean(0), light - light.mean()
    total = float(centred.square().sum())
    if total == 0:
        return 0.0, 0.0
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0)
    weights = values / values.sum()
    rank = float(torch.special.entr(weights).sum().exp())
    power = float(light.square().sum())
    explained = float((light @ centred).square().sum()) / power if power else 0.0
    return rank, explained / total
