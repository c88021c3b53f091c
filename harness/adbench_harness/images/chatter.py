"""What decoders print: libjpeg and libpng tell of damage on C's ``stderr`` and nowhere else."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

T = TypeVar("T")

_DAMAGE = re.compile(
    r"libpng error: .*|Premature end of JPEG file|Inconsistent progression sequence.*"
    # A few bytes too many before the last marker are harmless; some cameras write them.
    r"|Corrupt JPEG data: (?!\d{1,2} extraneous).*"
)
_DECODERS = re.compile(r".*(JPEG|JFIF|Adobe|progression|libpng|TIFF|LZW|Decode).*")


def listen(work: Callable[[], T]) -> tuple[T, str]:
    """What ``work`` returns, and the damage that a decoder told of meanwhile (empty: none).

    Nothing of it reaches the terminal. Threads share the stream, so that one which hears of damage
    works again alone. Where C's ``stderr`` cannot be replaced, it stays as it is.
    """
    ears = _ears()
    if ears is None:
        return work(), ""
    result, told = ears.listen(work)
    if not _DAMAGE.search(told):
        return result, ""
    result, told = ears.listen(work, alone=True)
    found = _DAMAGE.search(told)
    return result, found[0] if found else ""


class _Ears:
    """C's ``stderr`` as a stream in memory, for as long as any thread decodes."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._lock = threading.Condition()
        self._alone = False
        self._libc = libc
        self._variable = ctypes.c_void_p.in_dll(libc, "stderr")
        libc.open_memstream.restype = ctypes.c_void_p
        libc.fflush.argtypes = libc.rewind.argtypes = [ctypes.c_void_p]
        self._text = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        self._users = 0
        # It stays open: a thread that is not decoding may be about to write to it.
        self._stream = libc.open_memstream(ctypes.byref(self._text), ctypes.byref(self._size))
        self._usual = self._variable.value

    def listen(self, work: Callable[[], T], *, alone: bool = False) -> tuple[T, str]:
        """``work()`` and what was told meanwhile: by other threads too, unless ``alone``."""
        with self._lock:
            self._lock.wait_for(lambda: not self._alone)
            self._alone = alone
            self._lock.wait_for(lambda: not alone or not self._users)
            if not self._users:
                self._open()
            self._users += 1
            start = self._told()
        try:
            result = work()
        finally:
            with self._lock:
                end = self._told()
                told = ctypes.string_at(self._text.value or 0, end) if end else b""
                self._users -= 1
                self._alone = self._alone and not alone
                if not self._users:
                    self._close(told)
                self._lock.notify_all()
        return result, told[start:].decode(errors="replace")

    def _told(self) -> int:
        """How many bytes the stream holds."""
        self._libc.fflush(self._stream)
        return self._size.value

    def _open(self) -> None:
        self._usual = self._variable.value
        self._libc.rewind(self._stream)
        self._variable.value = self._stream

    def _close(self, told: bytes) -> None:
        """Put ``stderr`` back, and pass on what no decoder wrote."""
        self._variable.value = self._usual
        for line in told.decode(errors="replace").splitlines(keepends=True):
            if not _DECODERS.match(line):
                os.write(2, line.encode())


@cache
def _ears() -> _Ears | None:
    if sys.platform != "linux":
        return None
    try:
        return _Ears(ctypes.CDLL(None))
    except (AttributeError, OSError, ValueError):
        return None
