"""Each kind of mask file is read by its rule, or refused by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.images import masks
from adbench_harness.types import Sample

SHAPE = np.zeros((24, 30), bool)
SHAPE[5:15, 8:20] = True


def read(tmp_path: Path, mask: NDArray, threshold: int | None = None) -> list[masks.Region]:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((*SHAPE.shape, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    sample = Sample(tmp_path / "image.png", "test", 1, (tmp_path / "mask.png",), "spot")
    return masks.read(sample, threshold, SHAPE.shape)


def rgba(colors: NDArray, alpha: NDArray) -> NDArray:
    return np.dstack([colors, colors, colors, alpha])


WHITE = np.uint8(255)
BLURRED = cv2.GaussianBlur(SHAPE * WHITE, (5, 5), 1)


@pytest.mark.parametrize(
    ("mask", "rule"),
    [
        (SHAPE * WHITE, masks.PLAIN),
        (SHAPE * np.uint8(1), masks.PLAIN),
        (SHAPE * np.uint16(65535), masks.PLAIN),
        (rgba(SHAPE * WHITE, np.full(SHAPE.shape, WHITE)), masks.PLAIN),
        (rgba(np.full(SHAPE.shape, WHITE), SHAPE * WHITE), masks.ALPHA),
        (np.where(SHAPE, np.uint8(200), np.uint8(30)), masks.RAISED),
        (SHAPE * (1 + np.arange(30, dtype=np.uint8) // 12), masks.CLASSES),
    ],
)
def test_the_shape_and_the_rule(tmp_path: Path, mask: NDArray, rule: str) -> None:
    [region] = read(tmp_path, mask)
    np.testing.assert_array_equal(region.pixels, SHAPE)
    assert region.rule == rule


def test_soft_edges_are_cut_in_the_middle(tmp_path: Path) -> None:
    [region] = read(tmp_path, BLURRED)
    np.testing.assert_array_equal(region.pixels, BLURRED.max() / 2 < BLURRED)
    assert region.rule == masks.SOFT


def test_a_threshold_decides(tmp_path: Path) -> None:
    [region] = read(tmp_path, BLURRED, threshold=200)
    np.testing.assert_array_equal(region.pixels, BLURRED > 200)
    [region] = read(tmp_path, BLURRED, threshold=0)
    np.testing.assert_array_equal(region.pixels, BLURRED > 0)
    assert region.rule == masks.ROUGH


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros((10, 10), np.uint8), "10 x 10 px, but its image is 30 x 24 px"),
        (rgba(SHAPE * WHITE, ~SHAPE * WHITE), "another one in its alpha channel"),
        (np.arange(24 * 30).reshape(24, 30).astype(np.uint8), "as a photograph has"),
        (10 + SHAPE * (1 + np.arange(30, dtype=np.uint8) // 12), "none is 0"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, mask: NDArray, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as error:
        read(tmp_path, mask)
    assert "mask.png" in str(error.value)


def test_a_normal_image_has_no_region() -> None:
    normal = Sample(Path("gone.png"), "test", 0)
    assert masks.read(normal, None, SHAPE.shape) == []
    found = masks.union(normal, None, SHAPE.shape)
    assert found is not None
    assert not found.any()
    assert masks.union(Sample(Path("gone.png"), "test", 1), None, SHAPE.shape) is None
