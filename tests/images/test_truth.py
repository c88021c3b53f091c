from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from adbench_harness.images.truth import Truth
from adbench_harness.types import Sample


def test_the_masks_of_an_image_are_read_one_by_one(tmp_path: Path) -> None:
    masks = []
    for name, value in (("a", 255), ("b", 128), ("c", 127)):
        pixels = np.zeros((6, 9), np.uint8)
        pixels[len(masks)] = value
        masks.append(tmp_path / f"{name}.png")
        cv2.imwrite(str(masks[-1]), pixels)
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.zeros((6, 9), np.uint8))
    sample = Sample(image, "test", 1, tuple(masks), "spot", saturation=(3, None, 5))
    plain = Sample(image, "test", 1, tuple(masks[:2]), "spot")
    normal = Sample(image, "test", 0)
    union = np.zeros((6, 9), bool)
    truth = Truth([sample, plain, normal], [union, union, union], 127)
    assert truth.size(0) == (6, 9)
    assert [region.sum() for region in truth.regions(0)] == [9, 9, 0]
    assert truth.regions(0)[1][1].all()
    assert truth.regions(2) == []
    assert truth.saturation(0) == (3, None, 5)
    assert truth.saturation(1) == (None, None), "all of each mask"
    assert truth.saturation(2) == ()
