"""Images with other colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def recoloured(images: Tensor, inside: Tensor, change: Tensor) -> Tensor:
    """Images [n, 3, H, W] in [0, 1] with other colours.

    ``change`` [n, 4] is the change of brightness, contrast (about the mean grey ``inside``, bool
    [n, H, W]) and saturation, as fractions, and of hue, in turns about the grey axis.
    """
    brightness, contrast, saturation, hue = change.T[:, :, None, None]
    # Rodrigues' rotation about the unit vector (1, 1, 1) / sqrt(3), combined with the saturation.
    grey = change.new_full((3, 3), 1 / 3)
    chroma = torch.eye(3).to(grey) - grey
    across = change.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = 2 * math.pi * hue
    matrix = grey + (1 + saturation) * (turn.cos() * chroma + turn.sin() * across)
    mean = torch.einsum("nchw,nhw->n", images, inside.to(images)) / (3 * inside.sum((1, 2)))
    matrix = (1 + brightness) * (1 + contrast) * matrix
    offset = -(1 + brightness) * contrast * mean[:, None, None]
    changed = torch.baddbmm(offset, matrix, images.flatten(2))
    return changed.clamp(0, 1).view_as(images)
