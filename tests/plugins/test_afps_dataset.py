from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from adbench_afps.dataset import KolektorSDD2
from adbench_harness.errors import UserError
from adbench_harness.planning import samples
from adbench_harness.types import Dataset

DEFECTIVE = {"train": (10001, 10004), "test": (20000, 20003, 20005)}


@pytest.fixture
def root(tmp_path):
    """Six training and six test images, the ones in DEFECTIVE with a pixel in their masks."""
    for part, first in (("train", 10000), ("test", 20000)):
        (tmp_path / part).mkdir()
        for number in range(first, first + 6):
            mask = np.zeros((8, 5), np.uint8)
            mask[3, 2] = 255 * (number in DEFECTIVE[part])
            cv2.imwrite(str(tmp_path / part / f"{number}.png"), np.full((8, 5, 3), 90, np.uint8))
            cv2.imwrite(str(tmp_path / part / f"{number}_GT.png"), mask)
    (tmp_path / "split_weakly_246.pyb").write_bytes(b"")
    return tmp_path


def listed(root, **params):
    return KolektorSDD2(**params).samples(root, "kolektorsdd2", 0)


def counts(samples):
    return Counter((sample.split, sample.label) for sample in samples)


def test_it_is_a_dataset_that_must_be_named():
    assert isinstance(KolektorSDD2(), Dataset)
    assert KolektorSDD2.default is False
    [archive] = KolektorSDD2.archives
    assert archive.md5 == "1ed0f628122776ace4965afa30dfe316"
    assert archive.sha256 is None


def test_the_mask_decides(root):
    assert KolektorSDD2().categories(root) == ["kolektorsdd2"]
    samples = listed(root)
    assert [sample.image.stem for sample in samples] == [
        *map(str, range(10000, 10006)),
        *map(str, range(20000, 20006)),
    ]
    for sample in samples:
        shown = int(sample.image.stem) in DEFECTIVE[sample.split]
        assert sample.label == shown
        assert sample.defect == ("defect" if shown else "good")
        truth = sample.image.with_name(f"{sample.image.stem}_GT.png")
        assert sample.masks == ((truth,) if shown else ())


def test_an_unsupervised_run_drops_the_defective_training_images(root):
    def split(protocol):
        return counts(samples.listed(KolektorSDD2(), root, "kolektorsdd2", protocol, 0))

    assert split("unsupervised") == {("train", 0): 4, ("test", 0): 3, ("test", 1): 3}
    assert split("classification") == {("train", 0): 4, ("train", 1): 3, ("test", 1): 2}


def test_one_folder_deeper(root, tmp_path_factory):
    parent = tmp_path_factory.mktemp("archive")
    root.rename(parent / "KolektorSDD2")
    assert len(listed(parent)) == 12


def test_a_mask_that_changes_is_read_again(root):
    assert listed(root)[0].label == 0
    cv2.imwrite(str(root / "train/10000_GT.png"), np.full((8, 5), 255, np.uint8))
    assert listed(root)[0].label == 1


def test_a_departure_from_the_official_split_is_told(root):
    assert KolektorSDD2().departure("kolektorsdd2", listed(root)) == (
        "6 train (2 of them defective), 3 good and 3 defective test images of 1 type; "
        "published are 2331 train (246 of them defective), 894 good and 110 defective test images "
        "of 1 type"
    )


def test_the_users_own_types_replace_the_one(root):
    (root / "types.csv").write_text(
        "image,defect,note\n10001.png,spot,\n20003.png, scratch,sure\n20000.png,spot,\n\n"
    )
    for file in ("types.csv", str(root / "types.csv")):
        samples = listed(root, labels=file)
        assert {s.image.name: s.defect for s in samples if s.label} == {
            "10001.png": "spot",
            "20003.png": "scratch",
            "20000.png": "spot",
        }
        assert counts(samples) == {
            ("train", 0): 4,
            ("train", 1): 1,
            ("test", 0): 3,
            ("test", 1): 2,
        }


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"image,defect\n", "names no image"),
        (b"image,defect\n10001.png,spot\n10001.png,scratch\n", "line 3: '10001.png' is 'spot' and"),
        (b"image,defect\n10000.png,spot\n", "'10000.png' is normal"),
        (b"image,defect\n999.png,spot\n", "'999.png' is not in the data set"),
        (b"image,defect\n10001.png,\n", "line 2: expected a file name"),
        (b"image,defect\n10001.png,good\n", "line 2: expected a file name"),
        (b"file,type\n10001.png,spot\n", "line 2: expected a file name in column 'image'"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_in_one_line(root, table, reason):
    if table is not None:
        (root / "types.csv").write_bytes(table)
    with pytest.raises(UserError) as caught:
        listed(root, labels="types.csv")
    assert reason in str(caught.value)
    assert "types.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_missing_part_is_named_with_the_next_step(root, part):
    (root / part).rename(root / "elsewhere")
    with pytest.raises(UserError, match=rf"images in {part}, found none; run 'adbench data fetch"):
        KolektorSDD2().categories(root)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="images in train, found none"):
        KolektorSDD2().categories(tmp_path / "nowhere")


@pytest.mark.parametrize(("content", "reason"), [(None, "is missing"), (b"x", "cannot be decoded")])
def test_a_mask_that_is_missing_or_damaged_is_refused(root, content, reason):
    mask = root / "test/20004_GT.png"
    mask.unlink()
    if content:
        mask.write_bytes(content)
    with pytest.raises(UserError, match=rf"20004_GT.png' {reason}"):
        listed(root)


def test_an_unknown_category_is_refused(root):
    with pytest.raises(UserError, match=r"no category 'kolektor'.*did you mean 'kolektorsdd2'"):
        KolektorSDD2().samples(root, "kolektor", 0)
