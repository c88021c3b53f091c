"""Image and mask files as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.images.geometry import Image
from adbench_harness.types import Sample


def decode(path: Path) -> Image:
    """The image as uint8 RGB [H, W, 3], whatever the file's format; a UserError names the file."""
    image = _read(path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def mask(sample: Sample, threshold: int, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The union of the sample's masks, bool [H, W]; None if the truth by pixel is unknown."""
    if sample.label == 0:
        return np.zeros(size, dtype=bool)
    if not sample.masks:
        return None
    union = np.zeros(size, dtype=bool)
    for path in sample.masks:
        union |= _region(path, threshold, size)
    return union


def regions(sample: Sample, threshold: int, size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """The sample's separate masks, each bool [H, W]; a normal sample has none."""
    return [_region(path, threshold, size) for path in sample.masks if sample.label != 0]


def _region(path: Path, threshold: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None or grey.shape != size:
        found = "nothing readable" if grey is None else f"{grey.shape[1]} x {grey.shape[0]} px"
        raise UserError(f"mask '{path}': {found}, but its image is {size[1]} x {size[0]} px")
    region: NDArray[np.bool_] = grey > threshold
    return region


def extra(path: Path) -> NDArray[np.float32]:
    """A further image of a sample (depth, infrared) as float32 [H, W, C], in the file's values.

    C is 1 for a grey image; colors are in the order red, green, blue, alpha. Raises UserError,
    naming the file, if it cannot be decoded.
    """
    values = _read(path, cv2.IMREAD_UNCHANGED)
    if values.ndim == 2:
        values = values[:, :, None]
    elif values.shape[2] >= 3:
        values = values[:, :, [2, 1, 0, *range(3, values.shape[2])]]  # OpenCV reads BGR
    return np.ascontiguousarray(values, dtype=np.float32)


def _read(path: Path, flags: int) -> NDArray[Any]:
    image: NDArray[Any] | None = cv2.imread(str(path), flags)
    if image is None:
        raise UserError(f"'{path}' cannot be decoded as an image; check the file")
    return image
