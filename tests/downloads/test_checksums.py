from __future__ import annotations

import shutil
import subprocess

import pytest

from adbench_harness.downloads import checksums
from adbench_harness.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name, content in {"a.png": b"a", "b b/ü.txt": b"", "b b/c/d": b"d" * 100_000}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    checksums.write(tmp_path)
    return tmp_path


def test_what_was_written_agrees_and_names_every_file(folder):
    sums = checksums.read(folder)
    assert list(sums) == ["a.png", "b b/c/d", "b b/ü.txt"]
    assert checksums.differences(folder, sums) == []


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="there is no sha256sum")
def test_sha256sum_reads_them(folder):
    command = ["sha256sum", "--check", "--strict", checksums.NAME]
    assert subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
    (folder / "a.png").write_bytes(b"A")
    assert subprocess.run(command, cwd=folder, capture_output=True).returncode == 1


def test_missing_and_changed_files_are_told_and_new_ones_are_not(folder):
    (folder / "a.png").write_bytes(b"A")
    (folder / "b b/ü.txt").unlink()
    (folder / "mine.txt").write_bytes(b"mine")
    assert checksums.differences(folder, checksums.read(folder)) == [
        f"'{folder / 'a.png'}' changed since it was unpacked",
        f"'{folder / 'b b/ü.txt'}' is missing",
    ]


def test_writing_again_leaves_the_sums_themselves_out(folder):
    before = (folder / checksums.NAME).read_bytes()
    checksums.write(folder)
    assert (folder / checksums.NAME).read_bytes() == before


def test_none_were_written(tmp_path):
    assert checksums.read(tmp_path) == {}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no sums\n"])
def test_a_damaged_list_is_refused(tmp_path, content):
    (tmp_path / checksums.NAME).write_bytes(content)
    with pytest.raises(UserError, match="SHA256SUMS' cannot be read"):
        checksums.read(tmp_path)
