"""Live progress on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from adbench_harness.results.store import TrialResult


class Display:
    """Shows bundle, stage, trial and the time left."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True)
        # Without ipywidgets rich draws nothing in a notebook; lines are better than that.
        notebook = self._console.is_jupyter and find_spec("ipywidgets") is not None
        self._live = total > 0 and (self._console.is_terminal or notebook)
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._trials = self._progress.add_task("trials", total=total)
        self._stage = self._progress.add_task("", total=1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def bundle(self, title: str) -> None:
        """A bundle starts."""
        self._progress.update(self._trials, description=title)

    def stage(self, name: str, done: int, total: int) -> None:
        """Where the bundle is."""
        task, title = self._progress.tasks[self._stage], f"  {name}"
        if title != task.description or done < task.completed:  # its time left starts anew
            self._progress.reset(self._stage, description=title)
        self._progress.update(self._stage, completed=done, total=max(total, 1))

    def trial(self, result: TrialResult) -> None:
        """A trial is done."""
        self._done += 1
        self._progress.update(self._trials, completed=self._done)
        if self._live and not result.failures:
            return
        spent = time.monotonic() - self._start
        left = spent / self._done * (self._total - self._done)
        outcome = f"failed in {result.failures[0].stage}" if result.failures else "ok"
        line = f"[{self._done}/{self._total}] {result.trial.title}: {outcome}"
        if self._live:
            self._progress.console.print(line, markup=False, highlight=False)
        else:
            print(f"{line}, about {left:.0f} s left", file=sys.stderr, flush=True)
