from __future__ import annotations

from collections import Counter

import pytest

import miniatures
from adbench_harness.basic.datasets import MVTecAD, MVTecAD2
from adbench_harness.datasets.official import SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.types import Dataset

BOTTLE = (
    "bottle/train/good/000.png",
    "bottle/test/good/000.png",
    "bottle/test/crack/000.png",
    "bottle/ground_truth/crack/000_mask.png",
)


def test_it_is_a_dataset_that_must_be_named():
    assert isinstance(MVTecAD(), Dataset)
    assert MVTecAD.default is False


def test_the_official_counts_add_up_to_the_published_totals():
    counts = MVTecAD.official_counts
    assert len(counts) == 15
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == [
        3629,
        467,
        1258,
        73,
        0,
        0,
    ]


def test_official_categories_that_are_there_are_found(tree):
    root = tree(*BOTTLE, "cable/train/good/000.png", "notes/train/good/0.png", "tile.png")
    assert MVTecAD().categories(root) == ["bottle", "cable"]


def test_no_category_names_the_folder_and_both_ways_on(tree):
    root = tree("something/else.png")
    with pytest.raises(UserError) as caught:
        MVTecAD().categories(root)
    assert str(root / "bottle") in str(caught.value)
    assert "adbench data fetch mvtec_ad" in str(caught.value)
    assert "--data mvtec_ad=DIR" in str(caught.value)
    with pytest.raises(UserError):
        MVTecAD().categories(root / "nowhere")


def test_an_unknown_category_is_refused(tree):
    with pytest.raises(UserError, match=r"\(did you mean 'bottle'\?\); choose from bottle$"):
        MVTecAD().samples(tree(*BOTTLE), "botle", 0)


def test_an_incomplete_category_is_refused(tree):
    root = tree(*BOTTLE, "cable/train/good/000.png")
    with pytest.raises(UserError, match=r"cable': no images in test.*adbench data fetch mvtec_ad"):
        MVTecAD().samples(root, "cable", 0)


def test_a_departure_from_the_official_split_is_told(tree):
    samples = MVTecAD().samples(tree(*BOTTLE), "bottle", 0)
    assert SplitCounts.of(samples) == SplitCounts(1, 1, 1, 1)
    assert MVTecAD().departure("bottle", samples) == (
        "1 train, 1 good and 1 defective test images of 1 type; published are "
        "209 train, 20 good and 63 defective test images of 3 types"
    )


def test_the_official_split_departs_in_nothing(tree):
    root = tree(
        *(f"toothbrush/train/good/{i}.png" for i in range(60)),
        *(f"toothbrush/test/good/{i}.png" for i in range(12)),
        *(f"toothbrush/test/defective/{i}.png" for i in range(30)),
        *(f"toothbrush/ground_truth/defective/{i}_mask.png" for i in range(30)),
    )
    samples = MVTecAD().samples(root, "toothbrush", 0)
    assert MVTecAD().departure("toothbrush", samples) is None
    assert MVTecAD().departure("toothbrush", samples[1:]) is not None


def test_the_real_bottle_has_the_official_split(real):
    root = real / "mvtec_ad"
    samples = MVTecAD().samples(root, "bottle", 0)
    assert SplitCounts.of(samples) == SplitCounts(209, 20, 63, 3)
    assert MVTecAD().departure("bottle", samples) is None
    assert all(bool(sample.masks) == bool(sample.label) for sample in samples)
    assert Counter(sample.defect for sample in samples if sample.label) == {
        "broken_large": 20,
        "broken_small": 22,
        "contamination": 21,
    }


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
