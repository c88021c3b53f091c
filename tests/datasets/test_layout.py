from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.datasets import layout
from adbench_harness.errors import UserError
from adbench_harness.types import Sample

NEXT = "do this"
GOOD = ("train/good/000.png", "test/good/000.png")


def test_every_image_becomes_one_sample_in_order(tree):
    root = tree(
        "train/good/001.jpg",
        "train/good/000.jpg",
        "validation/good/000.bmp",
        "test/good/000.png",
        "test/crack/000.png",
        "test/bent/000.png",
        "ground_truth/crack/000_mask.png",
        "ground_truth/bent/000.png",
    )
    assert layout.samples(root, NEXT) == [
        Sample(root / "train/good/000.jpg", "train", 0),
        Sample(root / "train/good/001.jpg", "train", 0),
        Sample(root / "validation/good/000.bmp", "validation", 0),
        Sample(
            root / "test/bent/000.png", "test", 1, (root / "ground_truth/bent/000.png",), "bent"
        ),
        Sample(
            root / "test/crack/000.png",
            "test",
            1,
            (root / "ground_truth/crack/000_mask.png",),
            "crack",
        ),
        Sample(root / "test/good/000.png", "test", 0),
    ]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"])
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_suffixes_of_image_and_mask_are_free(tree, suffix, case):
    root = tree(*GOOD, f"test/crack/7.{case(suffix)}", "ground_truth/crack/7_mask.PNG")
    assert layout.samples(root, NEXT)[1] == Sample(
        root / f"test/crack/7.{case(suffix)}",
        "test",
        1,
        (root / "ground_truth/crack/7_mask.PNG",),
        "crack",
    )


def test_what_is_no_image_is_passed_over(tree):
    root = tree(*GOOD)
    expected = layout.samples(root, NEXT)
    tree(
        "train/good/._000.png",
        "train/good/Thumbs.db",
        "train/good/readme.txt",
        "test/.cache/000.png",
        "test/000.png",
        "ground_truth/good/000_mask.png",
        "ground_truth/crack/999_mask.png",
        ".git/000.png",
    )
    (root / "train/good/folder.png").mkdir()
    assert layout.samples(root, NEXT) == expected


def test_folders_within_folders_are_read_and_matched_with_their_masks(tree):
    root = tree(
        *GOOD,
        "train/good/more/000.png",
        "test/crack/000.png",
        "test/crack/batch/000.png",
        "test/crack/batch/deeper/1.jpg",
        "ground_truth/crack/000_mask.png",
        "ground_truth/crack/batch/000_mask.png",
        "ground_truth/crack/batch/deeper/1/0.png",
        "ground_truth/crack/batch/deeper/1/1.png",
    )
    truth = root / "ground_truth/crack"
    found = {sample.image: sample for sample in layout.samples(root, NEXT)}
    assert found[root / "train/good/more/000.png"].split == "train"
    assert found[root / "test/crack/000.png"].masks == (truth / "000_mask.png",)
    assert found[root / "test/crack/batch/000.png"].masks == (truth / "batch/000_mask.png",)
    assert found[root / "test/crack/batch/deeper/1.jpg"].masks == (
        truth / "batch/deeper/1/0.png",
        truth / "batch/deeper/1/1.png",
    )


def test_a_folder_of_masks_belongs_to_the_image_of_its_name(tree):
    root = tree(
        *GOOD,
        "test/loose/1.png",
        "ground_truth/loose/1/001.png",
        "ground_truth/loose/1/000.png",
        "ground_truth/loose/2/000.png",
        "ground_truth/loose/1/notes.txt",
    )
    folder = root / "ground_truth/loose/1"
    [sample] = [sample for sample in layout.samples(root, NEXT) if sample.label]
    assert sample.masks == (folder / "000.png", folder / "001.png")


def test_folders_may_have_other_names(tree):
    names = layout.Names("fit", "tune", "exam", "exam/truth", "ok")
    root = tree(
        *("fit/ok/0.png", "tune/ok/0.png", "exam/ok/0.png", "exam/ko/0.png", "exam/truth/ko/0.png"),
        "train/good/0.png",
    )
    samples = layout.samples(root, NEXT, names)
    assert [(s.split, s.label, s.defect, len(s.masks)) for s in samples] == [
        ("train", 0, "good", 0),
        ("validation", 0, "good", 0),
        ("test", 1, "ko", 1),
        ("test", 0, "good", 0),
    ]
    with pytest.raises(UserError, match=r"expected fit/ok, exam/ok and exam/<defect>; do this"):
        layout.samples(root / "exam", NEXT, names)


def test_masks_of_no_image_are_passed_over(tree):
    root = tree(*GOOD, "test/crack/1.png", "ground_truth/crack/1_mask.png")
    expected = layout.samples(root, NEXT)
    tree("ground_truth/crack/2_mask.png", "ground_truth/crack/11_mask.png")
    assert layout.samples(root, NEXT) == expected


def test_a_name_that_ends_in_mask_finds_its_own_mask(tree):
    root = tree(*GOOD, "test/torn/n95_mask.jpg", "ground_truth/torn/n95_mask.png")
    assert layout.samples(root, NEXT)[-1].masks == (root / "ground_truth/torn/n95_mask.png",)


def test_two_masks_of_one_image_are_both_kept(tree):
    masks = ("ground_truth/crack/1.png", "ground_truth/crack/1_mask.png")
    root = tree(*GOOD, "test/crack/1.png", *masks)
    assert layout.samples(root, NEXT)[1].masks == tuple(root / mask for mask in masks)


def test_a_defect_type_may_have_no_pixel_truth(tree):
    root = tree(*GOOD, "test/bent/1.png", "test/crack/1.png", "ground_truth/bent/1.png")
    bent, crack = layout.samples(root, NEXT)[1:3]
    assert bent.masks
    assert (crack.label, crack.masks) == (1, ())


def test_a_missing_mask_is_refused(tree):
    root = tree(*GOOD, "test/bent/1.png", "test/bent/2.png", "ground_truth/bent/1_mask.png")
    with pytest.raises(UserError) as caught:
        layout.samples(root, NEXT)
    assert str(root / "test/bent/2.png") in str(caught.value)
    assert "2_mask.png" in str(caught.value)


def test_a_mask_among_the_images_is_refused(tree):
    root = tree(*GOOD, "test/bent/1.jpg", "test/bent/1_mask.png")
    with pytest.raises(UserError, match=r"test/bent/1_mask\.png' has the name of a mask, but is"):
        layout.samples(root, NEXT)


def test_two_images_of_one_name_are_refused(tree):
    root = tree(*GOOD, "test/bent/1.jpg", "test/bent/1.png")
    with pytest.raises(UserError, match=r"test/bent/1\.\w+': another file in this folder has the"):
        layout.samples(root, NEXT)


@pytest.mark.parametrize(
    ("name", "nearly"),
    [
        *((name, True) for name in ("good2", "good_", "Good (1)", "OK copy", "-ok-03", "good_new")),
        *((name, True) for name in ("normal", "defect_free", "DefectFree", "no defects", "Clean2")),
        *((name, False) for name in ("good", "OK", "goods", "not_ok", "ok_scratch", "bad", "2")),
        *((name, False) for name in ("unclean", "defect", "background", "passage", "abnormal")),
    ],
)
def test_what_is_nearly_the_name_of_normal_images(name, nearly):
    assert layout.Names(good=("good", "ok")).is_nearly_good(name) == nearly


def test_defects_in_train_are_labelled_and_take_no_mask_of_the_test_part(tree):
    root = tree(*GOOD, "train/bent/1.png", "test/bent/1.png", "ground_truth/bent/1_mask.png")
    learned = layout.samples(root, NEXT)[0]
    assert learned == Sample(root / "train/bent/1.png", "train", 1, (), "bent")


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ([], "no normal images in train"),
        (["test/good/0.png"], "no normal images in train"),
        (["train/bent/0.png", "test/good/0.png"], "no normal images in train"),
        (["train/good/notes.txt", "test/good/0.png"], "no normal images in train"),
        (["train/good/0.png"], "no images in test"),
        (["train/good/0.png", "test/0.png"], "no images in test"),
    ],
)
def test_a_missing_part_names_folder_expectation_and_next_step(tree, paths, reason):
    root = tree(*paths)
    with pytest.raises(UserError) as caught:
        layout.samples(root, NEXT)
    assert str(caught.value) == (
        f"'{root}': {reason}; expected train/good, test/good and test/<defect>; {NEXT}"
    )


def test_an_unknown_category_gets_the_nearest_and_all():
    with pytest.raises(UserError) as caught:
        layout.check_category("botle", ["bottle", "cable"], "mine", Path("/d"))
    assert str(caught.value) == (
        "mine: no category 'botle' in '/d' (did you mean 'bottle'?); choose from bottle, cable"
    )
