"""Superpixels, which some pseudo-anomalies use as outlines."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from skimage.segmentation import slic
from torch import Tensor

SEGMENTS = (30, 150, 250)
COMPACTNESS = 8.0


def superpixels(images: Tensor, segments: Sequence[int]) -> Tensor:
    """Labels int16 [B, H, W], starting at 0, of images uint8 RGB [B, 3, H, W].

    Image i gets about ``segments[i]`` superpixels, usually fewer; the parameters are those of Shah
    and Kim (2022). It runs on the CPU: compute the labels once and keep them.
    """

    def labels(image: Tensor, count: int) -> Tensor:
        pixels = image.permute(1, 2, 0).cpu().numpy()
        found = slic(pixels, n_segments=count, compactness=COMPACTNESS, sigma=1, start_label=0)
        return torch.from_numpy(found.astype(np.int16))

    with ThreadPoolExecutor() as pool:
        return torch.stack(list(pool.map(labels, images, segments)))
