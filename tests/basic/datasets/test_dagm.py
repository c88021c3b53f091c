from __future__ import annotations

from collections import Counter

import pytest

from adbench_harness.basic.datasets import DAGM
from adbench_harness.errors import UserError
from adbench_harness.planning import samples
from adbench_harness.types import Dataset


def test_it_is_a_dataset_that_must_be_named():
    assert isinstance(DAGM(), Dataset)
    assert DAGM.default is False


def test_the_published_counts_add_up():
    train, test, defective = zip(*DAGM.official_counts.values(), strict=True)
    assert (sum(train), sum(test), sum(defective)) == (8050, 8050, 2100)
    assert sum(DAGM().published().values()) == 16100


def test_an_image_with_a_label_is_defective(miniature):
    root = miniature("dagm")
    assert DAGM().categories(root) == [f"Class{n}" for n in range(1, 11)]
    samples = DAGM().samples(root, "Class10", 0)
    folder = root / "Class10"
    assert [(s.split, s.image.name, s.label) for s in samples] == [
        ("train", "0001.PNG", 0),
        ("train", "0002.PNG", 1),
        ("train", "0003.PNG", 0),
        ("test", "0001.PNG", 1),
        ("test", "0002.PNG", 0),
        ("test", "0003.PNG", 0),
    ]
    assert [s.masks for s in samples if s.label] == [
        (folder / "Train/Label/0002_label.PNG",),
        (folder / "Test/Label/0001_label.PNG",),
    ]


def test_an_unsupervised_run_drops_the_defective_training_images(miniature):
    found = samples.listed(DAGM(), miniature("dagm"), "Class1", "unsupervised", 0)
    assert Counter((sample.split, sample.label) for sample in found) == {
        ("train", 0): 2,
        ("test", 0): 2,
        ("test", 1): 1,
    }


@pytest.mark.parametrize("place", ["Class1/Class1", "DAGM/Class1"])
def test_one_folder_deeper(miniature, tmp_path, place):
    root = tmp_path / "other"
    (root / place).parent.mkdir(parents=True)
    (miniature("dagm") / "Class1").rename(root / place)
    assert DAGM().categories(root) == ["Class1"]
    assert len(DAGM().samples(root, "Class1", 0)) == 6


def test_a_departure_from_the_published_counts_is_told(miniature):
    samples = DAGM().samples(miniature("dagm"), "Class7", 0)
    assert DAGM().departure("Class7", samples) == (
        "3 train and 3 test images, 2 of them defective; published are "
        "1150 train and 1150 test images, 300 of them defective"
    )


def test_a_folder_without_classes_is_refused(tree):
    with pytest.raises(UserError, match=r"such as .*Class1'.*run 'adbench data fetch dagm'"):
        DAGM().categories(tree("Class1/0001.PNG"))


def test_a_class_without_test_images_is_refused(tree):
    with pytest.raises(UserError, match="no images in test"):
        DAGM().samples(tree("Class1/Train/0001.PNG"), "Class1", 0)
