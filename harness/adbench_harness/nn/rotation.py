"""Images rotated by any angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Images [B, C, H, W], each rotated about its centre by its own angle [B] (anticlockwise).

    Resized bilinearly; what comes into the image from outside is its mirror image.
    """
    height, width = images.shape[2:]
    angle = degrees.to(images) * (math.pi / 180)
    cosine, sine = angle.cos(), angle.sin()
    zero = torch.zeros_like(cosine)
    # grid_sample's coordinates are fractions of the height and of the width.
    rows = [cosine, -sine * height / width, zero, sine * width / height, cosine, zero]
    matrix = torch.stack(rows, 1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
