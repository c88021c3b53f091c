from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.basic.datasets import Folder
from adbench_harness.basic.datasets.mvtec import MVTecAD, SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.types import Dataset, Sample

PARTS = ("train/good/0.png", "test/good/0.png", "test/bent/0.png")


def test_it_is_a_dataset_that_must_be_named():
    assert isinstance(Folder(), Dataset)
    assert Folder.default is False


def test_folders_with_parts_are_the_categories(tree):
    root = tree(*(f"{name}/{path}" for name in ("nut", "bolt") for path in PARTS), "notes/a.png")
    assert Folder().categories(root) == ["bolt", "nut"]
    assert Folder().samples(root, "nut", 0) == [
        Sample(root / "nut/train/good/0.png", "train", 0),
        Sample(root / "nut/test/bent/0.png", "test", 1, (), "bent"),
        Sample(root / "nut/test/good/0.png", "test", 0),
    ]


def test_the_root_itself_may_be_a_category(tree, monkeypatch):
    root = tree(*PARTS, "validation/good/0.png")
    assert Folder().categories(root) == ["data"]
    assert [sample.split for sample in Folder().samples(root, "data", 0)] == [
        "train",
        "validation",
        "test",
        "test",
    ]
    monkeypatch.chdir(root)
    relative = Path()
    assert Folder().categories(relative) == ["data"]
    assert len(Folder().samples(relative, "data", 0)) == 4


def test_a_category_that_lacks_a_part_is_reported_not_passed_over(tree):
    root = tree(
        *(f"nut/{path}" for path in PARTS), "bolt/train/good/0.png", "screw/test/good/0.png"
    )
    assert Folder().categories(root) == ["bolt", "nut", "screw"]
    with pytest.raises(UserError, match=r"bolt': no images in test.*--data folder=DIR"):
        Folder().samples(root, "bolt", 0)
    with pytest.raises(UserError, match=r"screw': no normal images in train"):
        Folder().samples(root, "screw", 0)


@pytest.mark.parametrize("paths", [(), ("0.png", "images/0.png")])
def test_no_layout_names_the_folder_and_the_next_step(tree, paths):
    root = tree(*paths)
    with pytest.raises(UserError) as caught:
        Folder().categories(root)
    assert str(caught.value) == (
        f"'{root}': expected train/good and test, in it or in each folder of it; correct it, or "
        "name another folder with --data folder=DIR"
    )


def test_an_unknown_category_is_refused(tree):
    with pytest.raises(UserError, match=r"\(did you mean 'nut'\?\); choose from nut$"):
        Folder().samples(tree(*(f"nut/{path}" for path in PARTS)), "nuts", 0)


def test_a_table_takes_the_folders_place(tree):
    root = tree(*PARTS)
    rows = "path,split,label\ntrain/good/0.png,train,0\ntest/bent/0.png,test,1\n"
    (root / "list.csv").write_text(rows)
    for given in ("list.csv", str(root / "list.csv")):
        folder = Folder(table=given)
        assert folder.categories(root) == ["list"]
        assert folder.samples(root, "list", 0) == [
            Sample(root / "train/good/0.png", "train", 0),
            Sample(root / "test/bent/0.png", "test", 1, (), "anomalous"),
        ]
    with pytest.raises(
        UserError, match=r"no category 'lists' in '.*list.csv' \(did you mean 'list'"
    ):
        folder.samples(root, "lists", 0)


def test_the_real_capsules_are_split_anew(real):
    root = real / "mvtec_ad_resplit"
    assert Folder().categories(root) == ["capsule"]
    samples = Folder().samples(root, "capsule", 0)
    assert SplitCounts.of(samples) == SplitCounts(200, 23, 109, 5)
    assert all(bool(sample.masks) == bool(sample.label) for sample in samples)
    assert "219 train" in str(MVTecAD().departure("capsule", samples))
