"""Data sets with an official split, in miniature as their archives lay them out."""

from __future__ import annotations

import shutil

import pytest

import miniatures
from adbench_harness.basic.datasets import BTAD, MPDD, MVTec3D, MVTecAD2, MVTecLOCO, VisA
from adbench_harness.datasets.official import SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.images import masks
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
        truth = masks.union(sample, dataset.mask_threshold, (miniatures.HEIGHT, miniatures.WIDTH))
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


def test_a_category_in_other_capitals_is_found(miniature):
    root = miniature("mpdd")
    (root / "MPDD/connector").rename(root / "MPDD/Connector")
    assert MPDD().categories(root) == ["connector"]
    assert SplitCounts.of(MPDD().samples(root, "connector", 0)) == LISTED["mpdd"][1]


def test_images_beside_the_categories_are_noted_once(miniature):
    root = miniature("mpdd")
    assert MPDD().notes(root, "connector", []) == []
    shutil.copytree(root / "MPDD/connector/train", root / "MPDD/mine/train")
    [note] = MPDD().notes(root, "connector", [])
    assert note.startswith("1 file is not used: 1 in mine/train/good (")
    (root / "MPDD/tubes").mkdir()
    assert MPDD().notes(root, "tubes", []) == []
