"""Runs bundles as tasks of a Ray cluster.

Each task runs its bundle with one worker process of ``engines.local`` on its node, so that limits
and the end of a process mean the same. A bundle whose node is lost runs again on another one,
without the trials whose results have arrived.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adbench_harness.engines.local import Local
from adbench_harness.engines.schedule import part, schedule
from adbench_harness.errors import UserError, message, require
from adbench_harness.results.store import PROCESS, Failure
from adbench_harness.running.bundle import load, refused

if TYPE_CHECKING:
    from adbench_harness.engines import Begin, Stage
    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle

SHARED = "timed beside others"
"""The flag of a result whose times were measured while other tasks used the same node."""
_TRIES = 3
_TICK = 0.5


@dataclass(frozen=True)
class Ray:
    """The engine of a Ray cluster: the one at ``address``, or a new one on this machine.

    ``workers`` is the maximum number of tasks at a time, by default what the cluster has cores or
    GPUs for. The other settings are those of ``Local``. All nodes must see the data, the weights
    and the plugins at the same paths. Raises UserError if Ray is missing or cannot be reached.
    """

    address: str | None = None
    workers: int | None = None
    threads: int = 1
    timeout: float | None = None
    memory: int | None = None

    def __call__(
        self, bundles: Sequence[Bundle], begin: Begin, stage: Stage
    ) -> Iterator[TrialResult]:
        require("ray")
        import ray

        ours = not ray.is_initialized()
        if ours:
            self._connect()
        try:
            yield from self._run(bundles, begin)
        finally:
            if ours:
                ray.shutdown()

    def _connect(self) -> None:
        import ray

        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"--engine ray: no cluster at '{self.address}' ({message(error)}); start one with "
                "'ray start --head', or leave out --address"
            ) from error
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)  # Ray has set its own

    def _run(self, bundles: Sequence[Bundle], begin: Begin) -> Iterator[TrialResult]:
        import ray

        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if _wants_gpu(bundles) else 0
        count = self.workers or gpus or max(1, int(resources.get("CPU", 1)) // self.threads)
        task = ray.remote(
            num_cpus=self.threads, num_gpus=1 if gpus else 0, max_retries=0, num_returns="streaming"
        )(_perform)
        environment = {k: v for k, v in os.environ.items() if k.startswith("ADBENCH_")}
        engine = Local(1, self.threads, self.timeout, self.memory)
        waiting = deque(_Task(bundle) for bundle in schedule(bundles, count))
        running: dict[Any, _Task] = {}
        try:
            while True:
                while waiting and len(running) < count:
                    if (begun := waiting.popleft().begun(begin)) is not None:
                        made = task.remote(engine, begun.bundle, environment, sys.path)
                        running[made] = begun
                if not running:
                    return
                ready, _ = ray.wait([*running], num_returns=1, timeout=_TICK, fetch_local=False)
                for stream in ready:
                    for result in self._next(stream, running, waiting):
                        yield (
                            replace(result, flags=(*result.flags, SHARED)) if count > 1 else result
                        )
        finally:
            for stream in running:
                ray.cancel(stream, force=True)

    def _next(
        self, stream: Any, running: dict[Any, _Task], waiting: deque[_Task]
    ) -> Iterator[TrialResult]:
        """The next result of a task; if its node is lost, what is left waits for another one."""
        import ray

        state = running[stream]
        try:
            result = ray.get(next(stream))
        except StopIteration:
            del running[stream]
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            del running[stream]
            if state.tries < _TRIES:
                waiting.appendleft(replace(state, tries=state.tries + 1))
                return
            failure = Failure(PROCESS, f"its node was lost {_TRIES} times", message(error))
            for trial in state.bundle.trials:
                yield refused(trial, failure, load(state.bundle.plugins))
        else:
            left = [t for t in state.bundle.trials if t.id != result.trial.id]
            running[stream] = replace(state, bundle=part(state.bundle, left))
            yield result


@dataclass(frozen=True)
class _Task:
    """What is left of a bundle, and how often a node began with it (0: ``begin`` not called)."""

    bundle: Bundle
    tries: int = 0

    def begun(self, begin: Begin) -> _Task | None:
        if self.tries:
            return self if self.bundle.trials else None
        bundle = begin(self.bundle)
        return None if bundle is None else _Task(bundle, 1)


def _wants_gpu(bundles: Sequence[Bundle]) -> bool:
    return any(bundle.device != "cpu" for bundle in bundles)


def _perform(
    engine: Local, bundle: Bundle, environment: Mapping[str, str], paths: Sequence[str]
) -> Iterator[TrialResult]:
    """Run on a node: the results of ``bundle``, one after the other."""
    os.environ.update(environment)
    sys.path += [path for path in paths if path not in sys.path]
    yield from engine([bundle], lambda begun: begun, lambda *_: None)
