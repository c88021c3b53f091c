"""Runs bundles in worker processes on this machine.

A worker that ends, or that is ended because of a limit, costs the trials that it was running; the
others of its bundle go on in a fresh worker.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from adbench_harness.engines import template, worker
from adbench_harness.engines.schedule import part, schedule, singles
from adbench_harness.errors import clean
from adbench_harness.images import folders
from adbench_harness.results import scratch
from adbench_harness.results.store import PROCESS, Failure
from adbench_harness.running.bundle import fit_key, load, refused

if TYPE_CHECKING:
    from adbench_harness.engines import Begin, Stage
    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle, Trial

OUTPUTS = "adbench-workers-"
"""How the names of the folders of workers' outputs begin."""
_TICK = 0.1
"""Seconds between two looks at the limits."""
_BYTES = 2 * 2**30
"""Free memory for which there is a worker."""
_OUTPUT = 12_000
"""Characters of a worker's output that are kept in a failure."""
_OUTPUT_LIMIT = 2**26


@dataclass(frozen=True)
class Local:
    """The engine of worker processes: one for each GPU, or a share of the cores each.

    ``workers`` is their number, by default as many as there are GPUs, or as the cores and the free
    memory allow. ``threads`` is the number of threads that each computes with. ``timeout`` in
    seconds limits the time for a bundle's preparation and for each model with its scorers;
    ``memory`` in bytes limits what a worker and its child processes hold.
    """

    workers: int | None = None
    threads: int = 1
    timeout: float | None = None
    memory: int | None = None

    def __call__(
        self, bundles: Sequence[Bundle], begin: Begin, stage: Stage
    ) -> Iterator[TrialResult]:
        if not bundles:
            return
        gpus = _gpus(bundles[0].device)
        count = self.workers or len(gpus) or _by_cores(self.threads)
        crew = _Crew(self, count, gpus, stage)
        try:
            yield from crew.run(schedule(bundles, count), begin)
        finally:
            crew.stop()


def _gpus(device: str) -> list[str]:
    """The GPUs that workers may use, as CUDA_VISIBLE_DEVICES names them."""
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
    return named[: torch.cuda.device_count()]


def _by_cores(threads: int) -> int:
    room = psutil.virtual_memory().available // _BYTES
    return max(1, min(folders.workers() // threads, room))


@dataclass(frozen=True)
class _Task:
    """A bundle, and whether ``begin`` was called for it."""

    bundle: Bundle
    begun: bool = False


@dataclass(eq=False)
class _Worker:
    """A worker process as its driver sees it.

    ``left`` has the trials of its bundle that have no result yet, and ``running`` the ids of those
    that it works on; ``model`` is the key of their model, None while the bundle is prepared.
    ``since`` is when that began, later by the time in which the worker had to wait.
    """

    process: Any
    connection: connection.Connection
    output: Path
    slot: int
    bundle: Any = None
    left: dict[str, Trial] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    model: str | None = ""
    since: float = 0.0
    paused: float | None = None
    waits_since: float | None = None
    reason: str | None = None

    def gets(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.left = {trial.id: trial for trial in bundle.trials}
        self.running, self.model = (), ""
        self.since = time.monotonic()
        self._tell(bundle)

    def works_on(self, ids: tuple[str, ...]) -> None:
        self.running = ids
        model = None if self.model == "" else fit_key(self.left[ids[0]])
        if model != self.model:
            self.model, self.since = model, time.monotonic()

    def go_on(self) -> None:
        """Let it measure."""
        if self.waits_since is not None:
            self.since += time.monotonic() - self.waits_since
            self.waits_since = None
        self._tell(True)

    def _tell(self, content: Any) -> None:
        with suppress(OSError):  # it has ended, which its reader reports
            self.connection.send_bytes(pickle.dumps(content))

    def holds(self) -> int:
        """Bytes of memory of the process and of those that it started."""
        held = 0
        with suppress(psutil.Error):
            main = psutil.Process(self.process.pid)
            for one in (main, *main.children(recursive=True)):
                with suppress(psutil.Error):
                    held += int(one.memory_info().rss)
        return held

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.signal(signal.SIGKILL)

    def verdict(self) -> str:
        """Why the process ended."""
        if self.reason:
            return f"the trial's process {self.reason}"
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"the trial's process was killed by {name}"
        return f"the trial's process ended with exit code {code}"

    def signal(self, number: int) -> None:
        """Send a signal to the process and to those that it started."""
        for send in (getattr(os, "killpg", os.kill), os.kill):
            with suppress(OSError):  # the group begins to exist a moment after the process
                send(self.process.pid, number)
                return

    def pause(self) -> None:
        if self.paused is None:
            self.paused = time.monotonic()
            self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self.paused is not None:
            self.since += time.monotonic() - self.paused
            self.paused = None
            self.signal(signal.SIGCONT)

    def printed(self) -> str:
        """The end of what the process printed."""
        with suppress(OSError), self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - _OUTPUT))
            return clean(file.read().decode(errors="replace"))
        return ""


class _Crew:
    """The workers of one run."""

    def __init__(self, engine: Local, count: int, gpus: Sequence[str], stage: Stage) -> None:
        self._engine = engine
        self._gpus = gpus
        self._stage = stage
        self._context = template.context()
        self._slots = list(range(count))
        self._busy: list[_Worker] = []  # the one that has been busy for longest comes first
        self._idle: list[_Worker] = []
        self._alive: list[_Worker] = []
        self._inbox: queue.SimpleQueue[tuple[_Worker, tuple[str, Any] | None]] = queue.SimpleQueue()
        self._measuring: deque[_Worker] = deque()  # the first one measures, the others wait
        self._open = ExitStack()
        self._outputs = self._open.enter_context(scratch.folder(OUTPUTS))

    def run(self, bundles: Sequence[Bundle], begin: Begin) -> Iterator[TrialResult]:
        self._tasks = deque(map(_Task, bundles))
        looked = 0.0
        while True:
            while self._tasks and (self._idle or self._slots):
                self._start(self._tasks.popleft(), begin)
            if not self._busy and not self._tasks:
                return
            if time.monotonic() > looked + _TICK:
                looked = time.monotonic()
                self._check_limits()
            with suppress(queue.Empty):
                sender, message = self._inbox.get(timeout=_TICK)
                yield from self._heard(sender, message)

    def stop(self) -> None:
        """End every worker at once."""
        for one in self._alive:
            one.signal(signal.SIGKILL)
            one.process.join()
            one.connection.close()
        self._open.close()

    # ------------------------------------------------------------ start

    def _start(self, task: _Task, begin: Begin) -> None:
        if not task.begun:
            bundle = begin(task.bundle)
            if bundle is None:
                return
            task = _Task(bundle, begun=True)
        one = self._idle.pop() if self._idle else self._hired()
        one.gets(task.bundle)
        self._busy.append(one)
        if self._measuring:
            one.pause()

    def _hired(self) -> _Worker:
        """A fresh worker in a free slot."""
        slot = self._slots.pop(0)
        handle, output = tempfile.mkstemp(dir=self._outputs)
        os.close(handle)
        environment = dict(os.environ)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        place = worker.Place(os.getcwd(), environment, self._engine.threads, output)
        mine, theirs = connection.Pipe()
        with template.no_main():
            process = self._context.Process(target=worker.main, args=(theirs, place), daemon=False)
            process.start()
        theirs.close()
        one = _Worker(process, mine, Path(output), slot)
        self._alive.append(one)
        threading.Thread(target=self._read, args=(one,), daemon=True).start()
        return one

    def _read(self, one: _Worker) -> None:
        """Put what a worker sends into the inbox, and None when it has ended."""
        # A process that a plugin started may keep the connection open, but not the sentinel.
        try:
            while one.connection in connection.wait([one.connection, one.process.sentinel]):
                self._inbox.put((one, pickle.loads(one.connection.recv_bytes())))
        except Exception as error:
            if not isinstance(error, EOFError | OSError):
                one.reason = f"sent what cannot be read ({type(error).__name__})"
        self._inbox.put((one, None))

    # ------------------------------------------------------------ messages

    def _heard(self, one: _Worker, message: tuple[str, Any] | None) -> Iterator[TrialResult]:
        match message:
            case None:
                yield from self._ended(one)
            case ("stage", value):
                if self._busy and one is self._busy[0]:
                    self._stage(*value)
            case ("running", ids):
                one.works_on(ids)
            case ("result", result):
                if one.left.pop(result.trial.id, None):
                    yield result
            case ("alone", _):
                self._measuring.append(one)
                one.waits_since = time.monotonic()
                self._let_measure()
            case ("shared", _):
                self._measured(one)
            case ("done", _):
                self._busy.remove(one)
                self._idle.append(one)
            case ("retire", _):
                self._busy.remove(one)
                self._again(one, [*one.left])
            case ("broken", reason):
                one.reason = reason

    def _again(self, one: _Worker, ids: Sequence[str]) -> None:
        """Give some of the trials that a worker has left to the next free worker."""
        if ids:
            trials = [one.left.pop(id_) for id_ in ids]
            self._tasks.appendleft(_Task(part(one.bundle, trials), begun=True))

    def _ended(self, one: _Worker) -> Iterator[TrialResult]:
        one.signal(signal.SIGKILL)  # the processes that it started
        one.process.join()
        one.connection.close()
        self._slots.append(one.slot)
        for group in (self._alive, self._busy, self._idle):
            if one in group:
                group.remove(one)
        self._measured(one)
        suspects = [id_ for id_ in one.running if id_ in one.left] or [*one.left]
        self._again(one, [id_ for id_ in one.left if id_ not in suspects])
        shared = part(one.bundle, [*one.left.values()]) if one.left else None
        if shared is None:
            return
        apart = list(singles(shared))
        if len(apart) > 1:
            # It is not known which model ended the process, so each is tried alone.
            self._tasks.extend(_Task(bundle, begun=True) for bundle in apart)
            return
        failure = Failure(PROCESS, one.verdict(), one.printed())
        for trial in shared.trials:
            yield refused(trial, failure, load(shared.plugins))

    # ------------------------------------------------------------ limits

    def _check_limits(self) -> None:
        limits = self._engine
        for one in self._busy:
            if one.paused is not None or one.waits_since is not None:
                continue
            if limits.timeout and time.monotonic() - one.since > limits.timeout:
                one.end(f"took longer than the limit of {limits.timeout:g} s")
            elif limits.memory and one.holds() > limits.memory:
                one.end(f"used more memory than the limit of {limits.memory / 2**20:.0f} MB")
            with suppress(OSError):
                if one.output.stat().st_size > _OUTPUT_LIMIT:
                    os.truncate(one.output, 0)

    # ------------------------------------------------------------ times are measured alone

    def _let_measure(self) -> None:
        """Let the first worker that waits measure times, and pause the others."""
        if not self._measuring or self._measuring[0].waits_since is None:
            return
        first = self._measuring[0]
        for other in self._busy:
            if other is not first and other.waits_since is None:
                other.pause()
        first.resume()
        first.go_on()

    def _measured(self, one: _Worker) -> None:
        """A worker does not measure times any more, or does not want to."""
        if one not in self._measuring:
            return
        self._measuring.remove(one)
        if self._measuring:
            self._let_measure()
        else:
            for other in self._busy:
                other.resume()
