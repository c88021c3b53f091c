"""Claims on trials, so that several runs into one folder share the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from adbench_harness.errors import UserError

_PRESENT = 2**62
"""The byte that every run locks together with the others."""
_LOCKS = os.name == "posix"  # elsewhere every run is on its own


class Claims:
    """Locks on bytes of one file, a byte for each trial; the system frees those of a killed run.

    The runs may be on several machines if the file system has POSIX locks. Raises UserError if the
    file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(
                f"'{path}' cannot be opened ({error.strerror}); delete it, or name another folder"
            ) from None

    def enter(self, sweep: Callable[[], object]) -> None:
        """Join the runs in this folder; the first one calls ``sweep`` before others may join."""
        if not _LOCKS:
            return
        import fcntl

        if self._lock(_PRESENT):
            sweep()
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _PRESENT)

    def take(self, trial_id: str) -> bool:
        """Claim a trial; returns whether no other run has claimed it."""
        return not _LOCKS or self._lock(_byte(trial_id))

    def release(self, trial_id: str) -> None:
        """Give a trial back."""
        if _LOCKS:
            import fcntl

            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(trial_id))

    def close(self) -> None:
        """Give everything back."""
        os.close(self._file)

    def _lock(self, byte: int) -> bool:
        import fcntl

        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            return True
        return True


def _byte(trial_id: str) -> int:
    return int(trial_id, 16) >> 3  # below _PRESENT
