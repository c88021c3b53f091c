from __future__ import annotations

import miniatures
from adbench_harness.basic.datasets import BTAD
from adbench_harness.images import masks


def test_btad_labels_come_from_the_folder_where_the_mask_is_empty(miniature):
    samples = BTAD().samples(miniature("btad"), "02", 0)
    empty = next(sample for sample in samples if sample.image.name == "0001.png")
    assert (empty.label, empty.defect) == (1, "ko")
    truth = masks.union(empty, BTAD.mask_threshold, (miniatures.HEIGHT, miniatures.WIDTH))
    assert truth is not None
    assert not truth.any()
    assert sum(BTAD.empty_masks.values()) == 11


def test_btad_masks_may_have_another_format_and_mark_with_1(miniature):
    samples = BTAD().samples(miniature("btad"), "01", 0)
    [defective] = [sample for sample in samples if sample.label]
    assert (defective.image.suffix, defective.masks[0].suffix) == (".bmp", ".png")
    truth = masks.union(defective, BTAD.mask_threshold, (miniatures.HEIGHT, miniatures.WIDTH))
    assert truth is not None
    assert truth.sum() == 1
