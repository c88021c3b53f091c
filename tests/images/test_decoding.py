from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.images import decoding, masks
from adbench_harness.types import Sample


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((5, 7), 90, np.uint8), (90, 90, 90)),
        (np.full((5, 7, 3), (10, 20, 30), np.uint8), (30, 20, 10)),
        (np.full((5, 7, 4), (10, 20, 30, 40), np.uint8), (30, 20, 10)),
        (np.full((5, 7), 90 * 257, np.uint16), (90, 90, 90)),
    ],
)
def test_decode_makes_rgb_of_whatever_is_there(
    tmp_path: Path, pixels: NDArray[Any], expected: tuple[int, int, int]
) -> None:
    path = tmp_path / "image é.png"
    cv2.imwrite(str(path), pixels)  # OpenCV takes and gives BGR
    image = decoding.decode(path, 16 if pixels.dtype == np.uint16 else 8)
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8
    assert (image == expected).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".tiff", ".png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_extra_image_keeps_its_values_and_the_order_of_its_channels(
    tmp_path: Path, dtype: Any, suffix: str, channels: int
) -> None:
    top = 1000 if dtype != np.uint8 else 255
    values = np.random.default_rng(0).integers(0, top, (5, 7, channels)).astype(dtype)
    path = tmp_path / f"extra{suffix}"
    if suffix == ".tiff":
        kind = {"photometric": "rgb"} if channels > 1 else {}
        alpha = {"extrasamples": ["assocalpha"]} if channels == 4 else {}
        tifffile.imwrite(path, values[:, :, 0] if channels == 1 else values, **kind, **alpha)
    elif dtype in (np.uint8, np.uint16):
        order = [0] if channels == 1 else [2, 1, 0, 3][:channels]  # OpenCV takes BGR
        cv2.imwrite(str(path), values[:, :, order])
    else:
        pytest.skip("a PNG file holds no floats")
    decoded = decoding.extra(path)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, values)


def test_colors_of_a_tiff_are_not_multiplied_by_its_alpha(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    path = tmp_path / "straight.tif"
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(decoding.decode(path), values[:, :, :3])
    np.testing.assert_array_equal(decoding.stored(path)[0], values[:, :, [2, 1, 0, 3]])


def test_an_extra_image_of_another_color_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "depth.tif"
    tifffile.imwrite(path, np.zeros((5, 7), np.uint16), photometric="miniswhite")
    with pytest.raises(UserError, match=r"depth.tif' is a TIFF in which 0 is white; convert it"):
        decoding.extra(path)


def test_negative_and_missing_depths_survive(tmp_path: Path) -> None:
    values = np.array([[[-0.25, 1e-6, 3e5]], [[0, np.nan, 0]]], np.float32)
    tifffile.imwrite(tmp_path / "xyz.tiff", values, photometric="rgb")
    np.testing.assert_array_equal(decoding.extra(tmp_path / "xyz.tiff"), values)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad.png' cannot be decoded as an image"):
        decoding.decode(path)
    with pytest.raises(UserError, match=r"bad.png' cannot be decoded as an image"):
        decoding.extra(path)
    with pytest.raises(UserError, match=r"gone.png' cannot be decoded as an image"):
        decoding.decode(tmp_path / "gone.png")


def test_a_cut_off_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cut.png' cannot be decoded"):
        decoding.decode(path)


def write_mask(path: Path, rows: slice, value: int = 255) -> Path:
    mask = np.zeros((20, 30), np.uint8)
    mask[rows] = value
    cv2.imwrite(str(path), mask)
    return path


def test_masks_are_united_above_the_threshold(tmp_path: Path) -> None:
    paths = (
        write_mask(tmp_path / "a.png", slice(0, 3)),
        write_mask(tmp_path / "b.png", slice(2, 5), value=101),
        write_mask(tmp_path / "c.png", slice(10, 12), value=100),
    )
    sample = Sample(paths[0], "test", 1, paths)
    union = masks.union(sample, 100, (20, 30))
    assert union is not None
    assert union[:5].all()
    assert not union[5:].any()


def test_pixel_truth_of_normal_and_unmasked_samples(tmp_path: Path) -> None:
    normal = masks.union(Sample(tmp_path, "test", 0), 0, (4, 6))
    assert normal is not None
    assert normal.shape == (4, 6)
    assert not normal.any()
    assert masks.union(Sample(tmp_path, "test", 1), 0, (4, 6)) is None
    assert masks.union(Sample(tmp_path, "test", None), 0, (4, 6)) is None


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    image = write_mask(tmp_path / "x.png", slice(0))
    sample = Sample(image, "test", 1, (write_mask(tmp_path / "m.png", slice(3)),))
    with pytest.raises(UserError, match=r"m.png': 30 x 20 px, but its image is 20 x 30 px"):
        masks.union(sample, 0, (30, 20))
    (tmp_path / "m.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"m.png' cannot be decoded as an image"):
        masks.union(sample, 0, (20, 30))
