"""A worker process: runs the bundles that it is sent, and sends back each result.

It talks with its driver through one connection. It gets bundles and, when it asks for it, a word to
go on. It sends pairs of a word and a value: ``stage``, ``running`` (ids of trials), ``alone`` and
``shared`` (times are measured from here to there), ``result``, ``done``, ``retire`` and ``broken``.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

import torch

from adbench_harness.engines import process
from adbench_harness.engines.residue import Residue
from adbench_harness.engines.schedule import fits
from adbench_harness.errors import said
from adbench_harness.running.bundle import run_bundle
from adbench_harness.running.watch import Watch

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle, Trial

_PR_SET_PDEATHSIG = 1  # from Linux' prctl.h
_OOM_FIRST = 800
"""If the memory is used up, Linux ends the process with the highest score, not the driver."""
_STAGE_SECONDS = 0.1
_GPU_LEAK = 2**28
"""Bytes of GPU memory more than before a bundle after which a process is not used again."""


@dataclass(frozen=True)
class Place:
    """Where a worker runs: folder, environment, threads, and the file that gets its output."""

    folder: str
    environment: Mapping[str, str]
    threads: int
    output: str


def main(connection: Connection, place: Place) -> None:
    """Run bundles until the driver closes the connection."""
    _settle(place)
    worker = _Worker(connection)
    with process.threads(place.threads):
        while (bundle := worker.received()) is not None:
            if not worker.ran(bundle):
                break
    # Threads that a plugin left behind must not keep the process.
    os._exit(0)


def _settle(place: Place) -> None:
    if hasattr(os, "setsid"):
        # An interrupt from the terminal is for the driver only, which ends this whole group.
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_driver()
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(_OOM_FIRST))
    output = os.open(place.output, os.O_WRONLY | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # multiprocessing closed it
    faulthandler.enable(2)
    os.environ.clear()
    os.environ.update(place.environment)
    os.chdir(place.folder)
    process.reuse_memory()


def _end_with_driver() -> None:
    threading.Thread(target=_await_driver, daemon=True).start()
    # That thread is not enough for a worker that is paused, or that never lets a thread run. Linux
    # ends a process with the template, which ends with the driver if no worker keeps it.
    with suppress(OSError, AttributeError, TypeError):
        os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _await_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


class _Worker:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._pid = os.getpid()
        self._told = 0.0

    def received(self) -> Any:
        """The next thing that the driver sends; None if it has closed the connection."""
        try:
            return pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return None

    def send(self, word: str, value: Any = None) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # a plugin forked, and its child came back here
        content = pickle.dumps((word, value))
        with self._sending:
            self._connection.send_bytes(content)

    def ran(self, bundle: Bundle) -> bool:
        """Run a bundle; returns whether this process is fit for another one."""
        left = {trial.id for trial in bundle.trials}
        together = {t.id: {other.id for other in fit} for fit in fits(bundle) for t in fit}
        before, memory = Residue(), _gpu_bytes()
        try:
            for result in run_bundle(bundle, Watch(self.stage, self.running, self.alone)):
                self.result(result)
                left.discard(result.trial.id)
                if left.isdisjoint(together[result.trial.id]) and (found := _left(before)):
                    self.send("retire", found)
                    return False
        except BaseException as error:
            # An error of the harness, such as of the connection.
            self.send("broken", f"raised {said(error)}")
            return False
        if _gpu_bytes() - memory > _GPU_LEAK:
            self.send("retire", ["GPU memory is held"])
            return False
        self.send("done")
        return True

    def result(self, result: TrialResult) -> None:
        try:
            self.send("result", result)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            self.send("result", result.refused("result", error))

    def stage(self, name: str, done: int, total: int) -> None:
        if done == total or time.monotonic() - self._told > _STAGE_SECONDS:
            self._told = time.monotonic()
            self.send("stage", (name, done, total))

    def running(self, trials: Sequence[Trial]) -> None:
        self.send("running", tuple(trial.id for trial in trials))

    @contextmanager
    def alone(self) -> Iterator[None]:
        self.send("alone")
        self.received()
        try:
            yield
        finally:
            self.send("shared")


def _gpu_bytes() -> int:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    gc.collect()
    return int(torch.cuda.memory_allocated())


def _left(before: Residue) -> list[str]:
    try:
        return before.found()
    except Exception as error:  # such as too many open files
        return [said(error)]
