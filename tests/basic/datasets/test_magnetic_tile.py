from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from adbench_harness.basic.datasets import MagneticTile
from adbench_harness.errors import UserError
from adbench_harness.images import verify
from adbench_harness.types import Dataset, Sample

FREE = tuple(f"MT_Free/Imgs/exp1_num_{number}.jpg" for number in range(11))
DEFECTIVE = tuple(
    f"MT_{defect}/Imgs/exp2_num_{number}{suffix}"
    for defect in ("Blowhole", "Break", "Crack", "Fray", "Uneven")
    for number in (5, 4)
    for suffix in (".jpg", ".png")
)


def test_it_is_a_dataset_that_must_be_named():
    assert isinstance(MagneticTile(), Dataset)
    assert MagneticTile.default is False


def test_four_fifths_of_the_free_tiles_train_and_all_others_test(tree):
    root = tree(*FREE, *DEFECTIVE, "MT_Free/Imgs/exp1_num_0.png", "dataset.jpg")
    assert MagneticTile().categories(root) == ["magnetic_tile"]
    samples = MagneticTile().samples(root, "magnetic_tile", 0)
    assert Counter((sample.split, sample.label) for sample in samples) == {
        ("train", 0): 8,
        ("test", 0): 3,
        ("test", 1): 10,
    }
    assert [sample.image.name for sample in samples[:11]] == sorted(
        path.split("/")[-1] for path in FREE
    )
    assert not any(sample.masks for sample in samples[:11])
    folder = root / "MT_Blowhole/Imgs"
    assert samples[11] == Sample(
        folder / "exp2_num_4.jpg", "test", 1, (folder / "exp2_num_4.png",), "blowhole"
    )


def test_the_draw_is_a_hash_of_seed_and_name(tree):
    root = tree(*FREE, *DEFECTIVE)

    def train(seed: int) -> set[str]:
        samples = MagneticTile().samples(root, "magnetic_tile", seed)
        return {sample.image.stem for sample in samples if sample.split == "train"}

    stems = [f"exp1_num_{number}" for number in range(11)]
    digests = {stem: hashlib.sha256(f"3:{stem}".encode()).hexdigest() for stem in stems}
    assert train(3) == set(sorted(stems, key=digests.__getitem__)[:8])
    assert len({frozenset(train(seed)) for seed in range(8)}) > 1


def test_the_archives_own_folder_is_looked_into(tree):
    top = "Magnetic-tile-defect-datasets.-master"
    root = tree(*(f"{top}/{path}" for path in FREE + DEFECTIVE))
    samples = MagneticTile().samples(root, "magnetic_tile", 0)
    assert samples == MagneticTile().samples(root / top, "magnetic_tile", 0)


@pytest.mark.parametrize("lines", ["exp1_num_3.jpg\nexp1_num_7.jpg\n", "exp1_num_7.jpg\r\n\r\n"])
def test_a_published_list_decides_the_split(tree, lines):
    root = tree(*FREE, *DEFECTIVE)
    (root / "list.txt").write_bytes(lines.encode())
    for given in ("list.txt", str(root / "list.txt")):
        samples = MagneticTile(train_list=given).samples(root, "magnetic_tile", 0)
        train = [sample.image.name for sample in samples if sample.split == "train"]
        assert train == sorted(lines.split())
        assert len(samples) == 21


def test_a_list_with_other_names_is_refused(tree):
    root = tree(*FREE, *DEFECTIVE)
    (root / "list.txt").write_text("exp1_num_3.jpg\nexp2_num_4.jpg\n")
    with pytest.raises(UserError, match=r"names 'exp2_num_4.jpg', not in MT_Free/Imgs"):
        MagneticTile(train_list="list.txt").samples(root, "magnetic_tile", 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"\n", "names no image")],
)
def test_a_list_without_names_is_refused(tree, content, reason):
    root = tree(*FREE, *DEFECTIVE)
    if content is not None:
        (root / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"train_list '.*list.txt' {reason}"):
        MagneticTile(train_list="list.txt").samples(root, "magnetic_tile", 0)


def test_a_missing_mask_is_refused(tree):
    root = tree(*FREE, *DEFECTIVE, "MT_Fray/Imgs/exp3_num_1.jpg")
    with pytest.raises(UserError, match=r"exp3_num_1.jpg': its mask 'exp3_num_1.png' is missing"):
        MagneticTile().samples(root, "magnetic_tile", 0)


@pytest.mark.parametrize("lacking", ["MT_Free", "MT_Uneven"])
def test_a_missing_folder_is_named_with_the_next_step(tree, lacking):
    root = tree(*(path for path in FREE + DEFECTIVE if not path.startswith(lacking)))
    with pytest.raises(UserError) as caught:
        MagneticTile().categories(root)
    assert str(caught.value) == (
        f"'{root}': expected images in {lacking}/Imgs, found none; run 'adbench data fetch mtd' or "
        "name its folder with --data mtd=DIR"
    )


def test_an_unknown_category_is_refused(tree):
    with pytest.raises(UserError, match=r"no category 'tile'.*magnetic_tile"):
        MagneticTile().samples(tree(*FREE, *DEFECTIVE), "tile", 0)


def test_the_real_tiles(real):
    samples = MagneticTile().samples(real / "magnetic_tile", "magnetic_tile", 0)
    assert Counter((sample.split, sample.label) for sample in samples) == {
        ("train", 0): 761,
        ("test", 0): 191,
        ("test", 1): 392,
    }
    assert Counter(sample.defect for sample in samples) == {
        "good": 952,
        "blowhole": 115,
        "break": 85,
        "crack": 57,
        "fray": 32,
        "uneven": 103,
    }
    assert MagneticTile().departure("magnetic_tile", samples) is None
    found = verify.category(MagneticTile(), real / "magnetic_tile", "magnetic_tile")
    assert (found.wrong, found.empty) == ((), MagneticTile.empty_masks["magnetic_tile"])


def test_a_departure_from_the_published_counts_is_told(tree):
    samples = MagneticTile().samples(tree(*FREE, *DEFECTIVE), "magnetic_tile", 0)
    assert MagneticTile().departure("magnetic_tile", samples) == (
        "11 good, 2 blowhole, 2 break, 2 crack, 2 fray, 2 uneven; published are "
        "952 good, 115 blowhole, 85 break, 57 crack, 32 fray, 103 uneven"
    )
