"""Headers say what decoding finds."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adbench_harness.images import headers
from adbench_harness.images.headers import Header


def encoded(pixels: np.ndarray, kind: str, orientation: int = 1) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    exif = image.getexif()
    if orientation != 1:
        exif[0x0112] = orientation
    image.save(file, kind, exif=exif.tobytes())
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "lossy"), [("PNG", False), ("JPEG", True), ("WEBP", True), ("TIFF", False)]
)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_and_orientation(kind: str, lossy: bool, orientation: int) -> None:
    found = headers.read(encoded(np.zeros((31, 47, 3), np.uint8), kind, orientation))
    assert found == Header(31, 47, 8, orientation, lossy=lossy)


def test_sixteen_bits() -> None:
    for kind in ("PNG", "TIFF"):
        found = headers.read(encoded(np.zeros((5, 9), np.uint16), kind))
        assert found == Header(5, 9, 16)


def test_the_frames_of_an_animation() -> None:
    for count, kind in ((3, "PNG"), (3, "WEBP"), (1, "PNG")):
        file = io.BytesIO()
        frames = [Image.new("RGB", (8, 6), (40 * number, 0, 0)) for number in range(count)]
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        found = headers.read(file.getvalue())
        assert found is not None
        assert found.pages == count


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "P"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha(mode: str, kind: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (8, 6)).save(file, kind)
    found = headers.read(file.getvalue())
    assert found is not None
    assert found.alpha == mode.endswith("A")


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (b"P5 2 1 255\n", 8),
        (b"P6\n# 2 x 1\n2 1\n4095\n", 16),
        (b"P5\n2 1 # wide\n65535\n", 16),
        (b"P4 2 1\n", 8),
    ],
)
def test_ppm(text: bytes, bits: int) -> None:
    assert headers.read(text + bytes(12)) == Header(1, 2, bits)


def test_ppm_with_another_white() -> None:
    assert headers.read(b"P6 2 1 100\n" + bytes(6)) == Header(1, 2, white=100)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("photometric", "bits", "reason"),
    [
        ("minisblack", 8, ""),
        ("miniswhite", 8, ""),
        ("rgb", 16, ""),
        ("separated", 8, ""),
        ("miniswhite", 16, "in which 0 is white; convert it, so that 0 is black"),
        ("cielab", 8, "in the color space CIELab; convert it to RGB"),
        ("cielab", 16, "in the color space CIELab; convert it to RGB"),
        ("icclab", 8, "in the color space ICCLab; convert it to RGB"),
        ("itulab", 8, "in the color space ITULab; convert it to RGB"),
        ("cfa", 16, "in the color space CFA; convert it to RGB"),
        ("linear_raw", 8, "in the color space LinearRaw; convert it to RGB"),
        ("depth_map", 8, "in the color space 51177; convert it to RGB"),
    ],
)
def test_what_decoders_misread(photometric: str, bits: int, reason: str, big: bool) -> None:
    channels = {"separated": 4, "minisblack": 1, "miniswhite": 1, "cfa": 1, "depth_map": 1}
    shape = (4, 6, channels.get(photometric, 3))
    file = io.BytesIO()
    pixels = np.zeros(shape[:2] if shape[2] == 1 else shape, f"u{bits // 8}")
    tifffile.imwrite(file, pixels, photometric=photometric, bigtiff=big)
    assert headers.misread(file.getvalue()) == reason


@pytest.mark.parametrize("content", [b"", b"II*\0", b"MM\0+\0\x08", encoded(np.eye(3) > 0, "PNG")])
def test_what_has_no_tags_is_not_misread(content: bytes) -> None:
    assert headers.misread(content) == ""
    assert not headers.has_straight_alpha(content)


def test_pages() -> None:
    file = io.BytesIO()
    pages = [Image.new("L", (8, 6)) for _ in range(3)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    found = headers.read(file.getvalue())
    assert found is not None
    assert found.pages == 3


@settings(deadline=None)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP"]))
def test_damaged_files_are_read_or_unknown(data: st.DataObject, kind: str) -> None:
    whole = encoded(np.zeros((8, 8, 3), np.uint8), kind)
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4)) if cut else 0):
        cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    found = headers.read(bytes(cut))
    assert found is None or isinstance(found, Header)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image(content: bytes) -> None:
    assert headers.read(content) is None
