from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from adbench_harness.images import cache
from adbench_harness.images.inputs import Inputs
from adbench_harness.types import InputSpec, Sample

SPEC = InputSpec(24, 20)
SAMPLES = tuple(Sample(Path(f"{i}.png"), "train", 0) for i in range(5))


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "cache"))


def inputs(seed: int = 0, count: int = len(SAMPLES), side: int = 20) -> Inputs:
    draw = np.random.default_rng(seed)
    return Inputs(
        SAMPLES[:count],
        torch.from_numpy(draw.integers(0, 256, (count, 3, side, side), np.uint8)),
        draw.integers(1, 2000, (count, 2), np.int32),
        draw.random(count),
    )


def entry(*made_of: object, spec: InputSpec = SPEC) -> Path:
    return cache.entry(made_of or ("some",), spec)


def same(one: Inputs | None, other: Inputs) -> bool:
    return (
        one is not None
        and torch.equal(one.pixels, other.pixels)
        and np.array_equal(one.sizes, other.sizes)
        and np.array_equal(one.seconds, other.seconds)
        and one.samples == other.samples
    )


def names() -> set[str]:
    return {path.name for path in cache.folder().iterdir()}


# ---------------------------------------------------------------- what was saved is there


def test_what_was_saved_comes_back_to_the_last_bit_and_lies_in_a_map() -> None:
    assert cache.load(entry(), SAMPLES) is None
    cache.save(entry(), inputs())
    found = cache.load(entry(), SAMPLES)
    assert same(found, inputs())
    assert found is not None
    assert names() == {entry().name}
    # Mapped from the file, and writing into it does not change the file.
    assert entry().name in Path("/proc/self/maps").read_text() or sys.platform != "linux"
    found.pixels.zero_()
    assert same(cache.load(entry(), SAMPLES), inputs())


def test_all_that_pixels_depend_on_is_in_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [
        entry("some"),
        entry("other"),
        entry("some", ["mean", 1, {"size": 5}]),
        entry("some", spec=InputSpec(24, None)),
        entry("some", spec=InputSpec(24, 20, "squash")),
    ]
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    paths.append(entry("some"))
    monkeypatch.setattr(cache.cv2, "__version__", "0")
    paths.append(entry("some"))
    assert len(set(paths)) == len(paths)


def test_the_source_is_that_of_the_components_whole_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("from some_plugin.step import Step\n")
    (package / "step.py").write_text("class Step: pass\n")
    (package / "helper.py").write_text("A = 1\n")
    (tmp_path / "one_file.py").write_text("class Step: pass\n")
    (tmp_path / "neighbour.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def sources() -> tuple[str, str]:
        return cache.source(step("some_plugin")), cache.source(step("one_file"))

    def step(module: str) -> type:
        loaded: ModuleType = __import__(module)
        found: type = loaded.Step
        return found

    before = sources()
    (tmp_path / "neighbour.py").write_text("A = 2\n")
    assert sources() == before
    (package / "helper.py").write_text("A = 2\n")
    assert (sources()[0] != before[0], sources()[1]) == (True, before[1])
    (tmp_path / "one_file.py").write_text("class Step: other = 1\n")
    assert sources()[1] != before[1]


# ---------------------------------------------------------------- what is not whole


@pytest.mark.parametrize("kept", [0, 5, 100, 2000, -1])
def test_a_cut_off_entry_is_not_there(kept: int) -> None:
    cache.save(entry(), inputs())
    entry().write_bytes(entry().read_bytes()[:kept])
    assert cache.load(entry(), SAMPLES) is None
    cache.save(entry(), inputs())
    assert same(cache.load(entry(), SAMPLES), inputs())


def test_a_flipped_bit_is_found_wherever_it_is() -> None:
    cache.save(entry(), inputs())
    whole = entry().read_bytes()
    for place in [*range(0, 128, 9), *range(128, len(whole), 311), len(whole) - 1]:
        spoilt = bytearray(whole)
        spoilt[place] ^= 4
        entry().write_bytes(spoilt)
        found = cache.load(entry(), SAMPLES)
        # A blank in the header's padding carries nothing.
        assert found is None or same(found, inputs())
        assert found is None or place < 128


def test_an_entry_of_other_samples_is_not_taken() -> None:
    cache.save(entry(), inputs(count=4))
    assert cache.load(entry(), SAMPLES) is None


def test_an_entry_that_is_something_else_is_not_taken(tmp_path: Path) -> None:
    entry().parent.mkdir(parents=True)
    for content in (b"PK\x03\x04junk", b"junk" * 100, b"\x93NUMPY\x01\x00\x10\x00{'descr': x"):
        entry().write_bytes(content)
        assert cache.load(entry(), SAMPLES) is None
    np.save(entry(), np.zeros((5, 3, 20, 20), np.uint8))
    assert cache.load(entry(), SAMPLES) is None
    entry().unlink()
    entry().mkdir()
    assert cache.load(entry(), SAMPLES) is None
    cache.save(entry(), inputs())


# ---------------------------------------------------------------- room


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_keeps_nothing_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6, 10_000))
    cache.save(entry(), inputs())
    assert names() == set()
    monkeypatch.undo()
    cache.save(entry("first"), inputs())


@pytest.mark.parametrize("refuses", ["replace", "fdopen"])
def test_a_disk_that_refuses_in_the_middle_leaves_nothing(
    refuses: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, refuses, full)
        cache.save(entry(), inputs())
    assert names() == set()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_fails_nothing() -> None:
    cache.folder().mkdir(parents=True)
    cache.folder().chmod(0o500)
    cache.save(entry(), inputs())
    assert names() == set()


def test_a_cache_folder_that_is_a_file_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    cache.save(entry(), inputs())
    assert cache.load(entry(), SAMPLES) is None


def test_the_entries_that_were_not_used_for_longest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for age, name in enumerate("cba"):
        cache.save(entry(name), inputs())
        os.utime(entry(name), (1000 - age, 1000 - age))
    size = entry("a").stat().st_size
    monkeypatch.setattr(cache, "LIMIT", 3 * size)
    assert cache.load(entry("a"), SAMPLES) is not None  # the oldest is used again
    cache.save(entry("d"), inputs())
    assert names() == {entry(name).name for name in "acd"}
    monkeypatch.setattr(cache, "LIMIT", size // 2)
    cache.save(entry("e"), inputs())
    assert entry("e").name not in names()


def test_what_a_killed_process_left_is_cleared_after_a_day() -> None:
    cache.folder().mkdir(parents=True)
    fresh, stale = cache.folder() / "fresh.tmp", cache.folder() / "stale.tmp"
    for path in (fresh, stale):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))
    cache.save(entry(), inputs())
    assert names() == {"fresh.tmp", entry().name}


# ---------------------------------------------------------------- several processes


TIMES = 40


def test_processes_that_write_at_once_never_see_half_an_entry() -> None:
    writers = [
        subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [int(writer.communicate(timeout=120)[0]) for writer in writers] == [TIMES] * 2
    assert names() == {entry().name}


if __name__ == "__main__":  # one of the processes
    right = 0
    for _ in range(TIMES):
        cache.save(entry(), inputs())
        right += same(cache.load(entry(), SAMPLES), inputs())
    print(right)
