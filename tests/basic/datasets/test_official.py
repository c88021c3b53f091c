"""Data sets with an official split, in miniature as their archives lay them out."""

from __future__ import annotations

from collections import Counter

import pytest

import miniatures
from adbench_harness.basic.datasets import BTAD, MPDD, MVTec3D, MVTecAD2, MVTecLOCO, VisA
from adbench_harness.datasets.official import SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.images import decoding
from adbench_harness.types import Dataset

OFFICIAL = (MVTecLOCO, MVTecAD2, MVTec3D, VisA, BTAD, MPDD)
# (train, good, defective, types, validation, defective in train) summed over categories, as the
# papers or others' audits have them; VisA and BTAD name one type of defect.
TOTALS = {
    "mvtec_loco": [1778, 575, 993, 10, 305, 0],
    "mvtec_ad_2": [2528, 379, 705, 8, 302, 0],
    "mvtec_3d": [2656, 249, 948, 41, 294, 0],
    "visa": [8659, 962, 1200, 12, 0, 0],
    "btad": [1799, 451, 290, 3, 0, 0],
    "mpdd": [888, 176, 282, 11, 0, 0],
}
LISTED = {
    "mvtec_loco": ("pushpins", SplitCounts(1, 1, 3, 2, 1)),
    "mvtec_ad_2": ("rice", SplitCounts(1, 1, 1, 1, 1)),
    "mvtec_3d": ("bagel", SplitCounts(2, 2, 4, 2, 2)),
    "visa": ("candle", SplitCounts(1, 1, 1, 1)),
    "btad": ("02", SplitCounts(1, 1, 2, 1)),
    "mpdd": ("connector", SplitCounts(1, 1, 1, 1)),
}
everyone = pytest.mark.parametrize("dataset", OFFICIAL, ids=lambda dataset: dataset.name)


@everyone
def test_it_is_a_dataset_that_must_be_named(dataset):
    assert isinstance(dataset(), Dataset)
    assert dataset.default is False


@everyone
def test_the_official_counts_add_up_to_the_published_totals(dataset):
    counts = dataset.official_counts.values()
    assert [sum(column) for column in zip(*counts, strict=True)] == TOTALS[dataset.name]
    without_types = sum(TOTALS[dataset.name]) - TOTALS[dataset.name][3]
    assert sum(dataset().published().values()) == without_types


@everyone
def test_its_archive_is_read_as_it_unpacks(dataset, miniature):
    root = miniature(dataset.name)
    category, counts = LISTED[dataset.name]
    assert category in dataset().categories(root)
    samples = dataset().samples(root, category, 0)
    assert SplitCounts.of(samples) == counts
    for sample in samples:
        assert sample.image.is_file()
        assert bool(sample.masks) == bool(sample.label)
        assert (sample.defect == "good") == (sample.label == 0)
        truth = decoding.mask(sample, dataset.mask_threshold, (miniatures.HEIGHT, miniatures.WIDTH))
        assert truth is not None


@everyone
def test_a_departure_from_the_official_split_is_told(dataset, miniature):
    root = miniature(dataset.name)
    category, counts = LISTED[dataset.name]
    said = dataset().departure(category, dataset().samples(root, category, 0))
    official = dataset.official_counts[category]
    assert said == f"{counts}; published are {official}"


@everyone
def test_a_folder_without_it_is_refused_with_both_ways_on(dataset, tree):
    with pytest.raises(UserError) as caught:
        dataset().categories(tree("something/else.png"))
    for part in (dataset.name, "adbench data fetch", f"--data {dataset.name}=DIR"):
        assert part in str(caught.value)


def test_ad_2_leaves_out_its_damaged_file_and_does_not_miss_it(miniature, tree):
    root = miniature("mvtec_ad_2")
    damaged = root / "mvtec_ad_2" / MVTecAD2.DAMAGED
    assert damaged.is_file()
    assert damaged not in [s.image for s in MVTecAD2().samples(root, "rice", 0)]
    damaged.write_bytes(miniatures.image())
    assert damaged in [s.image for s in MVTecAD2().samples(root, "rice", 0)]

    counts = MVTecAD2.official_counts["rice"]
    root = tree(
        *(f"rice/train/good/{i:03}_regular.png" for i in range(counts.train)),
        *(f"rice/validation/good/{i}.png" for i in range(counts.validation)),
        *(f"rice/test_public/good/{i}.png" for i in range(counts.good)),
        *(f"rice/test_public/bad/{i}.png" for i in range(counts.defective)),
        *(f"rice/test_public/ground_truth/bad/{i}_mask.png" for i in range(counts.defective)),
    )
    assert MVTecAD2().departure("rice", MVTecAD2().samples(root, "rice", 0)) is None
    (root / MVTecAD2.DAMAGED).write_bytes(b"")
    samples = MVTecAD2().samples(root, "rice", 0)
    assert len(samples) == counts.images - 1
    assert MVTecAD2().departure("rice", samples) is None
    assert MVTecAD2().departure("rice", samples[1:]) is not None
    assert MVTecAD2().departure("rice", samples[:-1]) is not None


def test_ad_2_survives_no_other_damaged_file_silently(miniature):
    root = miniature("mvtec_ad_2")
    other = root / "mvtec_ad_2/rice/train/good/000_regular.png"
    other.write_bytes(b"")
    assert other in [sample.image for sample in MVTecAD2().samples(root, "rice", 0)]


def test_btad_labels_come_from_the_folder_where_the_mask_is_empty(miniature):
    samples = BTAD().samples(miniature("btad"), "02", 0)
    empty = next(sample for sample in samples if sample.image.name == "0001.png")
    assert (empty.label, empty.defect) == (1, "ko")
    truth = decoding.mask(empty, BTAD.mask_threshold, (miniatures.HEIGHT, miniatures.WIDTH))
    assert truth is not None
    assert not truth.any()
    assert sum(BTAD.empty_masks.values()) == 11


def test_btad_masks_may_have_another_format_and_mark_with_1(miniature):
    samples = BTAD().samples(miniature("btad"), "01", 0)
    [defective] = [sample for sample in samples if sample.label]
    assert (defective.image.suffix, defective.masks[0].suffix) == (".bmp", ".png")
    truth = decoding.mask(defective, BTAD.mask_threshold, (miniatures.HEIGHT, miniatures.WIDTH))
    assert truth is not None
    assert truth.sum() == 1


def test_visa_reads_the_split_that_is_asked_for(miniature):
    root = miniature("visa")
    shot = VisA(split="2cls_highshot")
    samples = shot.samples(root, "candle", 0)
    assert Counter((s.split, s.label) for s in samples) == {
        ("train", 0): 1,
        ("train", 1): 1,
        ("test", 0): 1,
    }
    assert shot.departure("candle", samples) is None
    with pytest.raises(UserError, match=r"split_csv/3cls.csv' cannot be read"):
        VisA(split="3cls").samples(root, "candle", 0)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"", "no normal images in train"),
        (b"object,split,label,image\ncandle,train,normal,x\n", "lacks one of the columns"),
        (
            b"object,split,label,image,mask\ncandle,dev,normal,x,\n",
            "invalid row: candle,dev",
        ),
        (b"object,split,label,image,mask\ncandle,test,odd,x,\n", "invalid row"),
        (b"object,split,label,image,mask\ncandle,test,anomaly,x,\n", "invalid row"),
        (b"object,split,label,image,mask\ncandle,test,normal,no.JPG,\n", "no.JPG' is missing"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_table_of_visa_that_cannot_be_followed_is_refused(miniature, table, reason):
    root = miniature("visa")
    (root / "split_csv/1cls.csv").write_bytes(table)
    with pytest.raises(UserError) as caught:
        VisA().samples(root, "candle", 0)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
