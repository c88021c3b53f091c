"""Names the author's code that ends this process, or that does not return.

A small process is told what runs. It imports nothing of the harness, and ends with this process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import NoReturn

_SLOW = 60.0
"""Seconds after which a line names what still runs."""
_GRACE = 3.0
"""Seconds in which an interrupt should end it."""
_TICK = 0.2
_LATE = 1.0
_STEP = "fix it or leave it out of --plugins"
_running = [""]


@contextmanager
def during(what: str) -> Iterator[None]:
    """Run an author's code, ``what`` as in "the import of plugin 'x'".

    If it ends this process or does not return, a line on stderr says so. Raises Interrupted if the
    user interrupts it, and SystemExit as ``no_silent_exit`` does. A worker process is watched by
    its driver.
    """
    from multiprocessing import parent_process

    from adbench_harness.errors import Interrupted, interrupted, line

    if parent_process() is not None:
        with _kept():
            yield
        return
    _running.append(line(what))
    _tell()
    try:
        with no_silent_exit(), _kept():
            yield
    except KeyboardInterrupt as error:
        if not interrupted(error):
            raise
        known = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        raise Interrupted(known.number, known.what or what) from None
    finally:
        _running.pop()
        _tell()


@contextmanager
def no_silent_exit() -> Iterator[None]:
    """Raise SystemExit for an author's ``os._exit``, which would end the run without a word."""

    def refuse(status: int) -> NoReturn:
        if os.getpid() != own:  # a child process, whose end is no loss
            leave(status)
        raise SystemExit(f"os._exit({status}) was called")

    own, leave, os._exit = os.getpid(), os._exit, refuse
    try:
        yield
    finally:
        os._exit = leave


@contextmanager
def _kept() -> Iterator[None]:
    """Put back the streams and, where something is computed, what changes numbers."""
    streams, here = (sys.stdout, sys.stderr), None
    if "torch" in sys.modules:
        from adbench_harness.planning.surroundings import Surroundings

        here = Surroundings()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        if here is not None:
            here.restore(imported=True)


def _tell() -> None:
    pipe = _started(os.getpid())
    if pipe is not None:
        with suppress(OSError):
            os.write(pipe, f"{_running[-1]}\n".encode())


@cache
def _started(_process: int) -> int | None:
    """Start the witness of this process; returns the pipe to it, or None if it cannot run."""
    if not hasattr(os, "posix_spawn"):
        return None
    source, pipe = os.pipe()
    numbers = map(str, (os.getpid(), _SLOW, _GRACE))
    command = [sys.executable, "-I", "-S", __file__, *numbers]
    null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    try:
        os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, 0), null],
            setsigmask=[signal.SIGINT],  # until it can handle it
        )
    except OSError:
        os.close(pipe)
        return None
    finally:
        os.close(source)
    os.set_blocking(pipe, False)
    return pipe


def _witness(process: int, slow: float, grace: float) -> None:
    """What the small process does until ``process`` has ended."""
    interrupted: list[float] = []
    signal.signal(signal.SIGINT, lambda *_: interrupted.append(time.monotonic()))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    what, told, since, text = "", False, 0.0, b""
    while True:
        ready, _, _ = select.select([0], [], [], _TICK if what else None)
        now = time.monotonic()
        if ready:
            new = os.read(0, 2**16)
            *lines, text = (text + new).split(b"\n")
            if lines:
                if not what:  # an interrupt of what came before; this line may be read late
                    interrupted[:] = [at for at in interrupted if now - at < _LATE]
                what, told, since = lines[-1].decode(errors="replace"), False, now
            if new:
                continue
        if ready or os.getppid() != process:
            if what and _orphaned(process):
                _say(f"error: the process ended during {what}; {_STEP}")
            return
        if interrupted and now - interrupted[0] > grace:
            interrupted.clear()
            _say(f"{what} does not react; end it with 'kill -9 {process}'")
        if not told and now - since > slow:
            told = True
            _say(f"{what} has taken {slow:g} s; if it does not end, interrupt it and {_STEP}")


def _orphaned(process: int) -> bool:
    """Whether ``process`` has ended; otherwise, an author's code has closed the pipe."""
    for _ in range(20):
        if os.getppid() != process:
            return True
        time.sleep(_TICK / 4)
    return False


def _say(text: str) -> None:
    sys.stderr.write(f"adbench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    _witness(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
