from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import miniatures
from adbench_harness.basic.datasets import KolektorSDD
from adbench_harness.errors import UserError
from adbench_harness.planning import samples
from adbench_harness.types import Dataset


def listed(root, seed=0):
    return KolektorSDD().samples(root, "kolektorsdd", seed)


def test_it_is_a_dataset_that_must_be_named():
    assert isinstance(KolektorSDD(), Dataset)
    assert KolektorSDD.default is False
    assert KolektorSDD().published() == {"kolektorsdd": 399}


def test_the_mask_decides(miniature):
    samples = listed(miniature("ksdd"))
    assert len(samples) == 18
    for sample in samples:
        item, part = sample.image.parent.name, sample.image.stem
        shown = int(part[-1]) == int(item[-2:]) % 3
        assert sample.label == shown
        assert sample.defect == ("crack" if shown else "good")
        assert sample.masks == ((sample.image.with_name(f"{part}_label.bmp"),) if shown else ())


def test_items_stay_whole_and_two_thirds_of_them_train(tmp_path_factory):
    root = tmp_path_factory.mktemp("ksdd")
    for path, content in miniatures.KSDD.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(content)

    @given(st.integers(0, 2**32))
    def check(seed):
        parts = defaultdict(set)
        samples = listed(root, seed)
        for sample in samples:
            assert sample.group == sample.image.parent.name
            parts[sample.group].add(sample.split)
        assert Counter(part for [part] in parts.values()) == {"train": 4, "test": 2}
        assert samples == listed(root, seed)

    check()
    assert len({tuple(s.split for s in sorted(listed(root, n), key=str)) for n in range(9)}) > 1


def test_an_unsupervised_run_drops_the_cracked_training_images(miniature):
    found = samples.listed(KolektorSDD(), miniature("ksdd"), "kolektorsdd", "unsupervised", 0)
    assert Counter((sample.split, sample.label) for sample in found) == {
        ("train", 0): 8,
        ("test", 0): 4,
        ("test", 1): 2,
    }


def test_one_folder_deeper(miniature, tmp_path):
    root = miniature("ksdd")
    (tmp_path / "parent").mkdir()
    root.rename(tmp_path / "parent" / "KolektorSDD")
    assert len(listed(tmp_path / "parent")) == 18


def test_a_departure_from_the_published_counts_is_told(miniature):
    assert KolektorSDD().departure("kolektorsdd", listed(miniature("ksdd"))) == (
        "12 good, 6 crack; published are 347 good, 52 crack"
    )


@pytest.mark.parametrize(("content", "reason"), [(None, "is missing"), (b"x", "cannot be decoded")])
def test_a_mask_that_is_missing_or_damaged_is_refused(miniature, content, reason):
    root = miniature("ksdd")
    mask = root / "kos02/Part1_label.bmp"
    mask.unlink()
    if content:
        mask.write_bytes(content)
    with pytest.raises(UserError, match=rf"Part1_label.bmp' {reason}"):
        listed(root)


def test_a_folder_without_items_is_refused(tree):
    with pytest.raises(UserError, match=r"found none; run 'adbench data fetch ksdd'"):
        KolektorSDD().categories(tree("items/Part0.jpg"))


def test_an_unknown_category_is_refused(miniature):
    with pytest.raises(UserError, match=r"no category 'kolektor'.*did you mean 'kolektorsdd'"):
        KolektorSDD().samples(miniature("ksdd"), "kolektor", 0)
