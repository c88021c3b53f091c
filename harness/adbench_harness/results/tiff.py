"""Writes a map as a TIFF file of floats, which evaluation servers take."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORT, _LONG = 3, 4


def write(path: Path, values: NDArray[np.floating[Any]]) -> None:
    """Write ``values``, float16 or float32 [H, W], uncompressed (TIFF 6.0, SampleFormat 3)."""
    height, width = values.shape
    bits = 8 * values.dtype.itemsize
    tags = [
        (256, _LONG, width),
        (257, _LONG, height),
        (258, _SHORT, bits),
        (259, _SHORT, 1),  # no compression
        (262, _SHORT, 1),  # 0 is black
        (273, _LONG, 0),  # where the values start, set below
        (277, _SHORT, 1),  # one value for each px
        (278, _LONG, height),  # a single strip
        (279, _LONG, height * width * bits // 8),
        (339, _SHORT, 3),  # IEEE floats
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 1, start if tag == 273 else value)
        for tag, kind, value in tags
    )
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(header + values.astype(values.dtype.newbyteorder("<")).tobytes())
