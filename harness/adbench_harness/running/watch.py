"""What a bundle tells the engine that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from adbench_harness.results.trial import Trial
from adbench_harness.running.material import Progress


@dataclass(frozen=True)
class Watch:
    """Functions that a bundle calls while it runs; by default they do nothing.

    ``stage`` takes (stage, done, total). ``running`` takes the trials whose result the next work is
    for, so that an engine knows which of them ended their process. ``alone`` returns a context in
    which no other trial may use this machine, since times are measured.
    """

    stage: Progress = lambda *_: None
    running: Callable[[Sequence[Trial]], None] = lambda _: None
    alone: Callable[[], AbstractContextManager[object]] = nullcontext
