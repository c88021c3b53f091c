"""Size, depth and orientation of an image file, before it is decoded."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import PIL.Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

LARGEST = 2**31
"""Bytes that a file may have; one of 16 bits with the most pixels that are read has half of it."""
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of TIFF files and of BigTIFF files."""
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_ORIENTATION = 0x0112
_WIDTH, _LENGTH, _BITS_PER_SAMPLE, _SAMPLE_FORMAT = 256, 257, 258, 339
_SUBFILE_TYPE, _PHOTOMETRIC, _EXTRA_SAMPLES = 254, 262, 338
_WHITE_IS_0, _RGB = 0, 2
_READ = frozenset({_WHITE_IS_0, 1, _RGB, 3, 5, 6})
"""The color spaces of a TIFF that decoders read right: grey, RGB, palettes, CMYK and YCbCr."""
_SPACES = {
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "CFA",
    32844: "LogL",
    32845: "LogLuv",
    34892: "LinearRaw",
}
_STRAIGHT = 2
"""The extra sample of a TIFF that is an alpha by which the colors are not multiplied."""
_SIGNED = frozenset({2, 3})
"""The sample formats of integers with a sign and of floats."""
_TEXT = 1024
"""Bytes in which the three numbers of a PPM's header are expected."""
DAMAGED = (LookupError, TypeError, ValueError, OSError, SyntaxError)
"""The errors that Pillow raises for damaged files."""
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers in the range of frames that do not start a frame."""


_HUGE = 1 << 16
"""Height and width in px of what Pillow does not open, because it is too large."""

# Pillow warns of what the decoder or the bound on pixels refuses anyway.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Header(NamedTuple):
    """``height`` and ``width`` in px as stored; ``bits`` of a value: 8, 16, or 32 (also of floats
    and of numbers with a sign).

    ``orientation`` is the EXIF tag: 1 if the stored pixels are upright. ``lossy`` is true of
    formats that change values, ``pages`` the number of images in the file, and ``alpha`` is true
    if pixels may be transparent. ``white`` is the value that a file of 8 bits calls white.
    """

    height: int
    width: int
    bits: int = 8
    orientation: int = 1
    lossy: bool = False
    pages: int = 1
    alpha: bool = False
    white: int = 255


def read(data: bytes) -> Header | None:
    """The header of a file's content; None if it is not a known image."""
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(_JPEG):
            return _jpeg(data)
        return _other(data)
    except PIL.Image.DecompressionBombError:
        return Header(_HUGE, _HUGE)  # which the bound on pixels refuses
    except (struct.error, *DAMAGED):
        return None


def _png(data: bytes) -> Header | None:
    width, height, bits, colors = struct.unpack_from(">IIBB", data, 16)
    alpha = colors in (4, 6)
    orientation, pages, at = 1, 1, 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            orientation = _orientation(data[at + 8 : at + 8 + size])
        elif kind == b"acTL":
            (pages,) = struct.unpack_from(">I", data, at + 8)
        elif kind == b"tRNS":
            alpha = True
        at += size + 12
    return Header(height, width, max(8, bits), orientation, pages=pages, alpha=alpha)


def _jpeg(data: bytes) -> Header | None:
    orientation, at = 1, 2
    while at + 4 <= len(data):
        lead, marker, size = struct.unpack_from(">BBH", data, at)
        if lead != 0xFF:
            return None
        if marker == 0xFF:  # markers may be padded
            at += 1
            continue
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : at + 2 + size])
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            return Header(height, width, max(8, bits), orientation, lossy=True)
        at += size + 2
    return None


def _orientation(exif: bytes) -> int:
    """The tag in a block of EXIF; 1 where it is absent or means nothing."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == _ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return 1


def _other(data: bytes) -> Header:
    with PIL.Image.open(io.BytesIO(data)) as image:
        bits = 16 if image.mode.startswith("I;16") else 32 if image.mode in "IF" else 8
        height, width = image.height, image.width
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            bits = max(8, *tags.get(_BITS_PER_SAMPLE, (8,)))
            if set(tags.get(_SAMPLE_FORMAT, ())) & _SIGNED:
                bits = 32
            height, width = tags[_LENGTH], tags[_WIDTH]  # image's are turned
        white = _white_of_ppm(data) if image.format == "PPM" else 255
        if white > 255:
            bits, white = 16, 255
        return Header(
            height,
            width,
            bits,
            image.getexif().get(_ORIENTATION, 1),
            lossy=image.format in ("WEBP", "JPEG2000", "AVIF"),
            pages=getattr(image, "n_frames", 1),
            alpha=image.has_transparency_data,
            white=white,
        )


def _white_of_ppm(data: bytes) -> int:
    """The largest value, to which Pillow scales and OpenCV does not."""
    kind, *numbers = re.sub(rb"#[^\n]*", b"", data[:_TEXT]).split(maxsplit=4)[:4]
    return int(numbers[2]) if kind in (b"P2", b"P3", b"P5", b"P6") else 255


def misread(data: bytes) -> str:
    """What decoders misread in a TIFF, with the next step; empty for other files."""
    tags = _tags(data)
    if tags.get(_SUBFILE_TYPE, 0) & 1:
        return "whose first image is a preview; save the image that it shows in a file of its own"
    space = tags.get(_PHOTOMETRIC)
    if space == _WHITE_IS_0 and max(tags.get(_BITS_PER_SAMPLE, (1,))) > 8:
        return "in which 0 is white; convert it, so that 0 is black"
    if space is None or space in _READ:
        return ""
    return f"in the color space {_SPACES.get(space, space)}; convert it to RGB"


def has_straight_alpha(data: bytes) -> bool:
    """Whether a file is a TIFF of RGB in 8 bits whose colors OpenCV multiplies by the alpha."""
    tags = _tags(data)
    return (
        tags.get(_PHOTOMETRIC) == _RGB
        and tags.get(_BITS_PER_SAMPLE) == (8, 8, 8, 8)
        and tags.get(_EXTRA_SAMPLES) == (_STRAIGHT,)
    )


def _tags(data: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF's first image, by their numbers; empty for another or a damaged file."""
    if data[:4] not in TIFF:
        return {}
    try:
        tags = Directory(data[:16] if data[:4] in TIFF[2:] else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return dict(tags)
    except (struct.error, *DAMAGED):
        return {}
