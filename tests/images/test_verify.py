from __future__ import annotations

import cv2
import numpy as np
import pytest

import miniatures
from adbench_harness.basic.datasets import BTAD, Folder, MVTecAD
from adbench_harness.downloads import checksums
from adbench_harness.images import verify


@pytest.fixture
def root(tmp_path):
    for path, content in miniatures.MVTEC_AD.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def wrong(root):
    """What is wrong with the bottle, by the folder data set, which knows no counts."""
    return verify.category(Folder(), root, "bottle").wrong


def test_a_sound_category(root):
    found = verify.category(Folder(), root, "bottle")
    assert (len(found.samples), found.masks, found.empty) == (4, 1, 0)
    assert (found.low, found.high) == (0, 254)
    assert (len(found.notes), found.wrong) == (2, ())  # copies, and one image with two labels


def test_other_counts_than_the_published_ones(root):
    [said] = verify.category(MVTecAD(), root, "bottle").wrong
    assert said == (
        "2 train, 1 good and 1 defective test images of 1 type; published are 209 train, "
        "20 good and 63 defective test images of 3 types"
    )
    assert "cable" in verify.missing(MVTecAD(), ["bottle"])
    assert verify.missing(Folder(), ["bottle"]) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("kept", [0, 1, 20, -5])
def test_an_image_that_was_cut_short(root, suffix, kept):
    file = root / f"bottle/train/good/002{suffix}"
    file.write_bytes(miniatures.image(suffix))
    assert wrong(root) == ()
    file.write_bytes(miniatures.image(suffix)[:kept])
    [said] = wrong(root)
    assert said.startswith(f"'{file}' cannot be decoded as an image")
    assert "\n" not in said


def test_a_mask_that_was_cut_short(root):
    file = root / "bottle/ground_truth/crack/000_mask.png"
    file.write_bytes(miniatures.mask()[:-20])
    [said] = wrong(root)
    assert f"'{file}'" in said


def test_a_mask_of_another_size(root):
    (root / "bottle/test/crack/000.png").write_bytes(b"")
    file = root / "bottle/test/crack/001.png"
    file.write_bytes(miniatures.image())
    (root / "bottle/ground_truth/crack/001_mask.png").write_bytes(
        (root / "bottle/ground_truth/crack/000_mask.png").read_bytes()
    )
    cv2.imwrite(str(file), np.zeros((9, 7, 3), np.uint8))
    empty, other = wrong(root)
    assert "crack/000.png' cannot be decoded" in empty
    assert other.endswith("001_mask.png': 8 x 6 px, but its image is 7 x 9 px; resize the mask")


def test_a_mask_that_is_missing(root):
    file = root / "bottle/test/crack/001.png"
    file.write_bytes(miniatures.image())
    [said] = wrong(root)
    assert said.startswith(f"'{file}': no mask in")


def test_masks_that_mark_nothing_are_counted_and_not_wrong(tmp_path):
    for path, content in miniatures.BTAD.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    found = verify.category(BTAD(), tmp_path, "02")
    assert (len(found.samples), found.masks, found.empty) == (4, 2, 1)
    assert len(found.wrong) == 1  # the counts
    assert verify.category(BTAD(), tmp_path, "01").empty == 0


def test_files_and_their_checksums(root):
    assert verify.files(root) == verify.Findings()
    checksums.write(root)
    assert verify.files(root) == verify.Findings(files=len(miniatures.MVTEC_AD))
    (root / "license.txt").write_bytes(b"CC0")
    assert verify.files(root).wrong == (f"'{root / 'license.txt'}' changed since it was unpacked",)
    (root / checksums.NAME).write_bytes(b"\xff")
    [said] = verify.files(root).wrong
    assert "cannot be read" in said
