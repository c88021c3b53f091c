"""Image files as arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.images import chatter, headers
from adbench_harness.images.geometry import Image
from adbench_harness.images.headers import Header

MOST = 2**27
"""Pixels that a file may hold: 134 million, 402 MB as RGB."""
_UPRIGHT = cv2.IMREAD_IGNORE_ORIENTATION
_LFS = b"version https://git-lfs"

# Its lines say less than the error that follows, which names the file.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(path: Path, depth: int = 8) -> Image:
    """The image as uint8 RGB [H, W, 3], upright; a UserError names the file.

    ``depth`` is the number of bits of the values of a file that stores 16: its highest 8 are kept.
    """
    data, header = content(path)
    if header.bits == 8:
        if depth != 8:
            raise UserError(
                f"'{path}' holds 8 bits, but other images of its data set hold {depth}; convert "
                "them to one format"
            )
        if header.white != 255:
            raise UserError(
                f"'{path}' says that {header.white} is white; save it again, so that 255 is white"
            )
        image = _read(path, data, cv2.IMREAD_COLOR)
    else:
        values = _read(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if highest(values, path) >> depth:
            raise UserError(
                f"'{path}' holds the value {values.max()}, but {depth} bits end at "
                f"{2**depth - 1}; convert it, or declare the depth if all images of the data set "
                "store 16 bits (folder:depth=16)"
            )
        image = (values >> (depth - 8)).astype(np.uint8)
    rgb = cv2.cvtColor(turned(image, header.orientation), cv2.COLOR_BGR2RGB)
    return np.asarray(rgb, dtype=np.uint8)


def highest(values: NDArray[Any], path: Path) -> int:
    """The largest value of an image of 16 bits; raises UserError for another type."""
    if values.dtype != np.uint16:
        raise UserError(
            f"'{path}' holds values of type {values.dtype}; convert it to 8 or 16 bits without sign"
        )
    return int(values.max())


def extra(path: Path) -> NDArray[np.float32]:
    """A further image of a sample (depth, infrared) as float32 [H, W, C], in the file's values.

    C is 1 for a grey image; colors are in the order red, green, blue, alpha. Raises UserError,
    naming the file, if it cannot be decoded.
    """
    data = _bytes(path)
    _check_space(path, data)
    values = _read(path, data, cv2.IMREAD_UNCHANGED)
    if values.ndim == 2:
        values = values[:, :, None]
    elif values.shape[2] >= 3:
        values = values[:, :, [2, 1, 0, *range(3, values.shape[2])]]  # OpenCV reads BGR
    return np.ascontiguousarray(values, dtype=np.float32)


def stored(path: Path) -> tuple[NDArray[Any], Header]:
    """A file's values as they are, [H, W] or [H, W, C] in OpenCV's order, and its header."""
    data, header = content(path)
    return _read(path, data, cv2.IMREAD_UNCHANGED), header


def content(path: Path) -> tuple[bytes, Header]:
    """A file's bytes and its header; raises UserError where it is no image or is too large."""
    data = _bytes(path)
    _check_space(path, data)
    header = headers.read(data)
    if header is None:
        raise UserError(_refusal(path, data))
    if header.height * header.width > MOST:
        raise UserError(
            f"'{path}' has {header.width} x {header.height} px; at most {MOST:,} px are read: "
            "scale it down or cut it into tiles"
        )
    if header.pages > 1:
        raise UserError(f"'{path}' holds {header.pages} images; save each in a file of its own")
    # Decoders do not agree on what the tag means in a TIFF.
    if header.orientation != 1 and data[:4] in headers.TIFF:
        raise UserError(
            f"'{path}' is a TIFF with the orientation tag {header.orientation}; save it upright "
            "without the tag"
        )
    return data, header


def turned(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """``image`` [H, W, ...] upright, as EXIF's ``orientation`` (1 to 8) says."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    across = orientation in (2, 3, 6, 7)
    return image[:: -1 if down else 1, :: -1 if across else 1]


def _check_space(path: Path, data: bytes) -> None:
    if reason := headers.misread(data):
        raise UserError(f"'{path}' is a TIFF {reason}")


def _refusal(path: Path, data: bytes) -> str:
    """Why a file cannot be read as an image: a TIFF may hold floats, for example."""
    if data.startswith(_LFS):
        return f"'{path}' is a pointer of Git LFS, not an image; run 'git lfs pull'"
    values = _decoded(data, cv2.IMREAD_UNCHANGED) if data[:4] in headers.TIFF else None
    if values is None or values.dtype in (np.uint8, np.uint16):
        return f"'{path}' cannot be decoded as an image; check the file"
    return f"'{path}' holds values of type {values.dtype}; convert it to 8 or 16 bits without sign"


def _bytes(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > headers.LARGEST:
            raise UserError(
                f"'{path}' has {size:,} bytes; at most {headers.LARGEST:,} are read: check the "
                "file, or cut the image into tiles"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be decoded as an image: {error.strerror}; check the file"
        ) from None


def _read(path: Path, data: bytes, flags: int) -> NDArray[Any]:
    damage = "its end is missing" if _is_padded(data) else ""
    image = None
    if not damage:
        image, damage = chatter.listen(lambda: _decoded(data, flags))
    if damage:
        raise UserError(f"'{path}' cannot be decoded as an image: {damage}; check the file")
    if image is None:
        raise UserError(_refusal(path, data))
    return image


def _decoded(data: bytes, flags: int) -> NDArray[Any] | None:
    # From memory, OpenCV refuses a file that was cut short; from a path it fills it up with grey.
    try:
        straight = headers.has_straight_alpha(data)
        if straight or (data[:4] in headers.TIFF and flags != cv2.IMREAD_UNCHANGED):
            # OpenCV fills up damaged strips of a TIFF in any case.
            with PIL.Image.open(io.BytesIO(data)) as image:
                image.load()
                if straight:
                    whole = flags == cv2.IMREAD_UNCHANGED
                    to = cv2.COLOR_RGBA2BGRA if whole else cv2.COLOR_RGBA2BGR
                    return cv2.cvtColor(np.asarray(image), to)
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | _UPRIGHT)
    except (cv2.error, *headers.DAMAGED):
        return None


def _is_padded(data: bytes) -> bool:
    """Whether the end of a JPEG is zeros in place of its last marker."""
    if not data.startswith(b"\xff\xd8") or data[-1:] != b"\0":
        return False
    return not data.rstrip(b"\0").endswith(b"\xff\xd9")
