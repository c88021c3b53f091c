"""What decoders print is heard, and reaches nobody else."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from adbench_harness.images import chatter

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="C's stderr is replaced on Linux only"
)


def say(text: bytes) -> None:
    libc = ctypes.CDLL(None)
    libc.fputs(text, ctypes.c_void_p.in_dll(libc, "stderr"))


def test_what_is_no_decoders_chatter_is_passed_on(capfd: Any) -> None:
    def work() -> int:
        say(b"Corrupt JPEG data: 1 extraneous bytes\n")
        say(b"from another library\n")
        return 7

    assert chatter.listen(work) == (7, "")
    assert capfd.readouterr().err == "from another library\n"


def test_damage_is_told_once_and_not_remembered(capfd: Any) -> None:
    damage = "Premature end of JPEG file"
    assert chatter.listen(lambda: say(f"{damage}\n".encode())) == (None, damage)
    assert chatter.listen(lambda: 1) == (1, "")
    say(b"afterwards\n")
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().err == "afterwards\n"


def test_damage_is_blamed_on_the_thread_that_met_it() -> None:
    def work(i: int) -> tuple[int, str]:
        def decode() -> int:
            if i % 7 == 0:
                say(b"Corrupt JPEG data: premature end of data segment\n")
            return i

        return chatter.listen(decode)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(200)))
    assert [value for value, _ in found] == list(range(200))
    assert [value for value, damage in found if damage] == list(range(0, 200, 7))


def test_what_work_raises_is_raised_and_stderr_comes_back(capfd: Any) -> None:
    def work() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        chatter.listen(work)
    say(b"still here\n")
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().err == "still here\n"
