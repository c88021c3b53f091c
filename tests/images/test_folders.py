from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adbench_harness.errors import UserError
from adbench_harness.images import folders
from adbench_harness.types import Archive, Dataset, Sample
from toys import ToyData


def test_locate_prefers_the_named_folder_then_the_data_folder_then_the_cache(
    tmp_path: Path,
) -> None:
    class Plain(ToyData):
        name = "plain"
        build = Dataset.build

    cached = folders.cache_folder() / "data/plain"
    with pytest.raises(UserError, match=r"'plain' was not found; name its folder with --data pl"):
        folders.locate(Plain(), None, {})
    with pytest.raises(UserError, match=r"data set 'plain' is not in '.*/plain'; name its folder"):
        folders.locate(Plain(), str(tmp_path), {})
    for folder in (cached, tmp_path / "all/plain", tmp_path / "own"):
        folder.mkdir(parents=True)
    named = {"plain": str(tmp_path / "own")}
    where = str(tmp_path / "all")
    assert folders.locate(Plain(), where, named) == tmp_path / "own"
    assert folders.locate(Plain(), where, {}) == tmp_path / "all/plain"
    assert folders.locate(Plain(), str(tmp_path), {}) == cached
    shutil.rmtree(cached)


def test_locate_says_how_to_fetch_and_builds_what_can_be_built() -> None:
    class Fetchable(ToyData):
        name = "fetchable"
        archives = (Archive("https://example.org/a.zip"),)
        build = Dataset.build

    with pytest.raises(UserError, match="or run 'adbench data fetch fetchable'"):
        folders.locate(Fetchable(), None, {})
    root = folders.locate(ToyData(), None, {})
    assert ToyData().categories(root) == ["dark", "light"]


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    return ToyData().build(tmp_path / "toy")


def dark(root: Path) -> list[Sample]:
    return list(ToyData().samples(root, "dark", 0))


def test_a_file_that_another_of_its_size_and_time_replaces_is_read_again(toy_root: Path) -> None:
    before = folders.fingerprint(toy_root, dark(toy_root))
    path = dark(toy_root)[0].image
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert folders.fingerprint(toy_root, dark(toy_root)) != before


def test_fingerprint_depends_neither_on_the_folder_nor_on_the_order(
    toy_root: Path, tmp_path: Path
) -> None:
    made = folders.fingerprint(toy_root, dark(toy_root))
    moved = tmp_path / "elsewhere/é"
    shutil.copytree(toy_root, moved)
    assert folders.fingerprint(moved, dark(moved)[::-1]) == made
    assert len(made) == 16


def test_fingerprint_changes_with_bytes_names_parts_and_labels(toy_root: Path) -> None:
    samples = dark(toy_root)
    first, masked = samples[0], next(s for s in samples if s.masks)
    altered = [
        [replace(first, split="train"), *samples[1:]],
        [replace(first, label=None), *samples[1:]],
        [replace(first, defect="other"), *samples[1:]],
        [replace(first, group="g"), *samples[1:]],
        [replace(s, saturation=(9.0,)) if s is masked else s for s in samples],
        samples[1:],
        [replace(s, masks=()) if s is masked else s for s in samples],
    ]
    prints = [folders.fingerprint(toy_root, listed) for listed in (samples, *altered)]
    masked.masks[0].write_bytes(masked.masks[0].read_bytes() + b"\0")
    prints.append(folders.fingerprint(toy_root, samples))
    first.image.write_bytes(first.image.read_bytes() + b"\0")
    prints.append(folders.fingerprint(toy_root, samples))
    renamed = first.image.rename(first.image.with_name("renamed.png"))
    prints.append(folders.fingerprint(toy_root, [replace(first, image=renamed), *samples[1:]]))
    assert len(set(prints)) == len(prints) == 11
