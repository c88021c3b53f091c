from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest

import miniatures
from adbench_harness.basic.datasets import MVTecLOCO
from adbench_harness.errors import UserError
from adbench_harness.images import masks

SIZE = (miniatures.HEIGHT, miniatures.WIDTH)


def listed(root):
    return MVTecLOCO().samples(root, "pushpins", 0)


def test_the_masks_in_an_images_folder_are_united_or_kept_apart(miniature):
    samples = listed(miniature("mvtec_loco"))
    first = next(sample for sample in samples if sample.defect == "logical_anomalies")
    assert [mask.parent.name for mask in first.masks] == ["000", "000"]
    truth = masks.union(first, MVTecLOCO.mask_threshold, SIZE)
    assert truth is not None
    assert [tuple(at) for at in zip(*truth.nonzero(), strict=True)] == [(2, 2), (3, 3)]
    regions = masks.regions(first, MVTecLOCO.mask_threshold, SIZE)
    assert [np.argwhere(region).tolist() for region in regions] == [[[2, 2]], [[3, 3]]]
    assert masks.regions(samples[0], MVTecLOCO.mask_threshold, SIZE) == []


def test_loco_has_a_validation_split(miniature):
    splits = Counter(sample.split for sample in listed(miniature("mvtec_loco")))
    assert splits == {"train": 1, "validation": 1, "test": 4}


def write(root, grey, size):
    """The only mask of the structural anomaly: ``size`` px of one grey value."""
    pixels = np.zeros(SIZE, np.uint8)
    pixels.flat[:size] = grey
    mask = root / "pushpins/ground_truth/structural_anomalies/000/000.png"
    cv2.imwrite(str(mask), pixels)


@pytest.mark.parametrize(
    ("threshold", "relative", "size", "area"),
    [
        (6300, False, 20, 20),  # no more than there is
        (12, False, 20, 12),
        (0.55, True, 20, 11),
        (0.59, True, 20, 11),  # rounded down
        (0.1, True, 4, 1),  # but one pixel at least
        (1.0, True, 20, 20),
    ],
)
def test_the_grey_value_of_a_mask_says_how_much_of_it_is_enough(
    miniature, threshold, relative, size, area
):
    root = miniature("mvtec_loco")
    entry = {"saturation_threshold": threshold, "relative_saturation": relative}
    config = root / "pushpins/defects_config.json"
    config.write_text(json.dumps([*json.loads(config.read_text()), {"pixel_value": 9, **entry}]))
    write(root, 9, size)
    samples = {sample.image.parent.name: sample for sample in listed(root)}
    assert samples["structural_anomalies"].saturation == (area,)
    assert samples["logical_anomalies"].saturation == (1,)
    assert samples["good"].saturation == ()


def test_a_mask_that_changes_is_read_again(miniature):
    root = miniature("mvtec_loco")
    write(root, 252, 5)
    assert listed(root)[-1].saturation == (5,)
    write(root, 252, 30)
    assert listed(root)[-1].saturation == (30,)


def test_a_mask_of_an_unknown_kind_is_refused(miniature):
    root = miniature("mvtec_loco")
    write(root, 17, 5)
    with pytest.raises(UserError, match=r"000.png': '.*defects_config.json' has no pixel_value 17"):
        listed(root)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[{}]", b"[1]", b'[{"pixel_value": "x"}]'])
def test_thresholds_that_cannot_be_read_are_refused(miniature, content):
    root = miniature("mvtec_loco")
    config = root / "pushpins/defects_config.json"
    config.unlink()
    if content is not None:
        config.write_bytes(content)
    with pytest.raises(UserError) as caught:
        listed(root)
    assert "defects_config.json" in str(caught.value)
    assert "run 'adbench data fetch mvtec_loco'" in str(caught.value)
    assert "\n" not in str(caught.value)
