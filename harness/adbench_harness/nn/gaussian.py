"""A Gaussian of vectors, and distances to it."""

from __future__ import annotations

import torch
from torch import Tensor


def shrunk_covariance(vectors: Tensor) -> Tensor:
    """Covariance [D, D] of vectors [N, D], shrunk towards a multiple of the identity.

    By the share that Ledoit and Wolf (Journal of Multivariate Analysis, 2004) found best, so that
    it has an inverse even if there are fewer vectors than dimensions, unless all are equal. Equals
    scikit-learn's ``ledoit_wolf``. Use float64.
    """
    centred = vectors - vectors.mean(0)
    count, depth = centred.shape
    covariance = centred.T @ centred / count
    mean = covariance.trace() / depth
    target = mean * torch.eye(depth, dtype=vectors.dtype, device=vectors.device)
    apart = (covariance - target).square().sum()
    noise = (centred.square().T @ centred.square() / count - covariance.square()).sum() / count
    share = torch.where(apart > 0, (noise / apart).clamp(max=1), 0)
    return torch.lerp(covariance, target, share)


def mahalanobis(vectors: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """sqrt((x - mean)^T precision (x - mean)) of vectors x [N, D]."""
    deviations = vectors - mean
    return (deviations @ precision * deviations).sum(1).clamp(min=0).sqrt()
