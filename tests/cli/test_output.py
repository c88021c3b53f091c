from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from adbench_harness.cli import output
from adbench_harness.errors import UserError


def test_text_and_bytes_are_written_with_their_folders(tmp_path: Path) -> None:
    output.write(tmp_path / "a" / "b.csv", "ü\n")
    output.write(tmp_path / "a" / "c.tiff", b"\0")
    assert (tmp_path / "a" / "b.csv").read_text(encoding="utf-8") == "ü\n"
    assert (tmp_path / "a" / "c.tiff").read_bytes() == b"\0"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'.*' cannot be written: Is a directory; name another"):
        output.write(tmp_path, "text")


def test_of_a_file_for_which_there_is_no_room_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> Any:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"No space left on device; make room, and the same comm"):
        output.write(tmp_path / "a.csv", "text")
    assert list(tmp_path.iterdir()) == []
