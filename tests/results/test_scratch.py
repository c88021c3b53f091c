from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from adbench_harness.results import scratch

PREFIX = "mine-"
HOLDER = f"""
import sys, time
from pathlib import Path
from adbench_harness.results import scratch
with scratch.folder({PREFIX!r}, Path(sys.argv[1])) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(30)
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that uses a folder, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    process.stdout.close()
    return process, folder


def test_a_folder_is_empty_and_goes_with_its_content(tmp_path: Path) -> None:
    with scratch.folder(PREFIX, tmp_path) as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
        (made,) = tmp_path.iterdir()
        assert made.name.startswith(PREFIX)
    with pytest.raises(KeyError), scratch.folder(PREFIX, tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_it_is_in_the_systems_folder_by_default() -> None:
    with scratch.folder("adbench-test-") as folder:
        assert folder.is_relative_to(tempfile.gettempdir())


def test_what_a_killed_process_left_is_deleted_and_what_is_in_use_stays(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    using, used = holder(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.exists()
    with scratch.folder(PREFIX, tmp_path):
        assert not left.parent.exists()
        assert (used / "deep" / "file").read_text() == "x"
    using.terminate()
    using.wait()


def test_a_copy_of_the_process_does_not_delete_it(tmp_path: Path) -> None:
    context = scratch.folder(PREFIX, tmp_path)
    folder = context.__enter__()
    child = os.fork()
    if not child:
        context.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.exists()
    context.__exit__(None, None, None)
    assert not folder.exists()


def test_other_folders_stay(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    killed.kill()
    killed.wait()
    theirs = tmp_path / f"{PREFIX}results"  # a user may call a folder so
    theirs.mkdir()
    (theirs / "file").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(left.parent)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "other").symlink_to(theirs)
    with scratch.folder("other-", tmp_path):
        assert left.exists()
    with scratch.folder(PREFIX, tmp_path):
        pass
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"{PREFIX}file", f"{PREFIX}link", f"{PREFIX}results", "other")
    ]
    assert (theirs / "file").exists()
