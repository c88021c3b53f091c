"""Folders of temporary files; those of a process that was killed are deleted by the next one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_IN_USE = ".adbench-in-use"
"""The file in each folder that its process locks; a folder without it is not ours."""
_LOCKS = os.name == "posix"  # elsewhere nothing is swept


@contextmanager
def folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder in ``parent`` (by default, the system's), deleted at the end.

    Folders with this ``prefix`` whose process has ended are deleted first. Raises OSError.
    """
    parent = parent or Path(tempfile.gettempdir())
    _sweep(prefix, parent)
    owner = os.getpid()
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        handle = os.open(made / "new", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(handle)
            # Only now, so that nobody can find the folder unlocked.
            (made / "new").rename(made / _IN_USE)
            files = made / "files"
            files.mkdir()
            yield files
        finally:
            os.close(handle)
    finally:
        if os.getpid() == owner:  # not in a copy of the process
            shutil.rmtree(made, ignore_errors=True)


def _sweep(prefix: str, parent: Path) -> None:
    for path in parent.iterdir() if _LOCKS else ():
        if path.name.startswith(prefix) and _abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _abandoned(path: Path) -> bool:
    """Whether it is one of this user's folders, and nobody holds its lock."""
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            handle = os.open(path / _IN_USE, os.O_RDWR | os.O_NOFOLLOW)
            try:
                return _lock(handle)
            finally:
                os.close(handle)
    return False


def _lock(handle: int) -> bool:
    """Lock a file until it is closed; returns whether nobody else has locked it."""
    if _LOCKS:
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # also a file system without locks, where nothing is swept
            return False
    return True
