"""Gradient magnitude similarity (GMS) of images, at one scale and at several (MSGMS).

Xue, Zhang, Mou, Bovik, "Gradient Magnitude Similarity Deviation", IEEE TIP 2014; at several scales,
Zavrtanik, Kristan, Skočaj, "Reconstruction by Inpainting for Visual Anomaly Detection", Pattern
Recognition 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from adbench_harness.nn.maps import upsample

C = 0.0026
SCALES = 4


def gms(first: Tensor, second: Tensor) -> Tensor:
    """Gradient magnitude similarity [B, H, W] of images [B, C, H, W] in [0, 1], at most 1 (equal).

    Gradients are those of the channels' mean after a 3 x 3 median filter, by Prewitt's operator;
    beyond the border, the outermost pixels are repeated.
    """
    one, other = (_gradient_magnitude(_median(images.mean(1))) for images in (first, second))
    return (2 * one * other + C) / (one.square() + other.square() + C)


def msgms(first: Tensor, second: Tensor, scales: int = SCALES) -> Tensor:
    """Mean similarity [B] of images [B, C, H, W] over ``scales`` scales, each half the last."""
    return torch.stack([values.mean((1, 2)) for values in _pyramid(first, second, scales)]).mean(0)


def msgms_map(first: Tensor, second: Tensor, scales: int = SCALES) -> Tensor:
    """Mean similarity [B, H, W] of ``scales`` scales, resized bilinearly to the images' size."""
    size = (first.shape[2], first.shape[3])
    values = [upsample(values, size) for values in _pyramid(first, second, scales)]
    return torch.stack(values).mean(0)


def _pyramid(first: Tensor, second: Tensor, scales: int) -> list[Tensor]:
    """The similarity of each scale, finest first; raises ValueError if nothing of one is left."""
    if min(first.shape[2:]) < 2 ** (scales - 1):
        raise ValueError(
            f"{scales} scales need images of at least {2 ** (scales - 1)} px, "
            f"not {list(first.shape[2:])}"
        )
    pairs = [(first, second)]
    for _ in range(scales - 1):
        one, other = pairs[-1]
        pairs.append((avg_pool2d(one, 2), avg_pool2d(other, 2)))
    return [gms(*pair) for pair in pairs]


def _gradient_magnitude(maps: Tensor) -> Tensor:
    """Length [B, H, W] of Prewitt's gradient."""
    padded = pad(maps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = padded[:, :, 2:] - padded[:, :, :-2]
    columns = padded[:, 2:] - padded[:, :-2]
    x = rows.unfold(1, 3, 1).mean(-1)
    y = columns.unfold(2, 3, 1).mean(-1)
    # The root of 0 has no derivative.
    return (x.square() + y.square() + 1e-20).sqrt()


def _median(maps: Tensor) -> Tensor:
    """Maps [B, H, W] after a 3 x 3 median filter, beyond the border the outermost pixels.

    The median of nine is that of the highest low, the middle middle and the lowest high of three
    sorted columns.
    """
    padded = pad(maps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    low, middle, high = _sorted(padded[:, :-2], padded[:, 1:-1], padded[:, 2:])
    return _sorted(
        _sorted(*_neighbours(low))[2],
        _sorted(*_neighbours(middle))[1],
        _sorted(*_neighbours(high))[0],
    )[1]


def _neighbours(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return maps[:, :, :-2], maps[:, :, 1:-1], maps[:, :, 2:]


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = torch.minimum(a, b), torch.maximum(a, b)
    b, c = torch.minimum(b, c), torch.maximum(b, c)
    return torch.minimum(a, b), torch.maximum(a, b), c
