"""Connected regions of a ground-truth mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def region_weights(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weigh each defective pixel 1 / size of its region, so that every region weighs 1 in total.

    Regions are 8-connected, as in the evaluation code of MVTec AD (Bergmann et al., IJCV 2021).

    Args:
        mask: bool [H,W], true where defective.

    Returns:
        [P], in the order of `mask`'s true pixels, row by row.
    """
    import cv2

    if not mask.any():
        return np.empty(0)
    _, labels = cv2.connectedComponents(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    region = np.asarray(labels)[mask]
    weights: NDArray[np.float64] = (1 / np.maximum(np.bincount(region), 1))[region]
    return weights
