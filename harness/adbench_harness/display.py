"""Live progress on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from adbench_harness.errors import clean, said
from adbench_harness.listener import Listener
from adbench_harness.terminal import console
from adbench_harness.timeleft import TimeLeft
from adbench_harness.wording import counted, duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle


class Display(Listener):
    """Shows downloads, then bundle, stage, trial and the time left.

    The first line of a run (how many trials are stored already) and the last line (how long the
    others took) go to stdout; everything else goes to stderr. As a context manager, it removes
    its progress bars at the end.
    """

    def __init__(self) -> None:
        self._open = ExitStack()

    @cached_property
    def _console(self) -> Console:
        return console()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def note(self, text: str) -> None:
        print(clean(text), file=sys.stderr)

    @contextmanager
    def transfer(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        """A progress bar of bytes, only on a terminal."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as shown:
            task = shown.add_task(clean(title), total=None)
            yield lambda done, total: shown.update(task, completed=done, total=total)

    @contextmanager
    def stages(self) -> Iterator[Callable[[str, int, int], None]]:
        """A progress bar of (stage, done, total), only on a terminal."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as shown:
            task = shown.add_task("", total=None)
            yield lambda name, done, total: shown.update(
                task, description=clean(name), completed=done, total=total
            )

    def started(self, stored: int, total: int, folder: Path) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        if stored:
            are = "is" if stored == 1 else "are"
            print(f"{stored} of {counted(total, 'trial')} {are} in {folder} already")
        self._total = total - stored
        self._done = 0
        self._folder = folder
        self._last = time.monotonic()
        self._time_left = TimeLeft(())
        # Without ipywidgets, rich shows nothing in a notebook, so lines are printed instead.
        notebook = self._console.is_jupyter and find_spec("ipywidgets") is not None
        self._live = self._total > 0 and (self._console.is_terminal or notebook)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            _remaining_column(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._trials = self._progress.add_task("trials", total=self._total, left=self._left)
        self._stage = self._progress.add_task("", total=1)
        self._open.enter_context(self._progress)

    def planned(self, bundles: Sequence[Bundle]) -> None:
        self._time_left = TimeLeft(bundles)

    def _left(self) -> float | None:
        """Seconds until the end of the run, less those since the last trial; None if unknown."""
        seconds = self._time_left.seconds()
        return None if seconds is None else max(seconds - (time.monotonic() - self._last), 0.0)

    def bundle(self, title: str) -> None:
        self._progress.update(self._trials, description=clean(title))

    def stage(self, name: str, done: int, total: int) -> None:
        task, title = self._progress.tasks[self._stage], f"  {clean(name)}"
        if title != task.description or done < task.completed:  # a new stage
            self._progress.reset(self._stage, description=title)
        self._progress.update(self._stage, completed=done, total=max(total, 1))

    def trial(self, result: TrialResult) -> None:
        now = time.monotonic()
        self._time_left.done(result.trial, now - self._last)
        self._last = now
        self._done += 1
        self._progress.update(self._trials, completed=self._done)
        if self._live and not result.failures:
            return
        outcome = f"failed in {result.failures[0].stage}" if result.failures else "ok"
        line = f"[{self._done}/{self._total}] {result.trial.title}: {outcome}"
        if self._live:
            self._progress.console.print(clean(line), markup=False, highlight=False)
            return
        left = self._left()
        if left is not None and self._done < self._total:
            line += f", about {duration(left)} left"
        print(clean(line), file=sys.stderr, flush=True)

    def observer_failed(self, name: str, error: BaseException) -> None:
        print(f"adbench: observer {name}: {said(error)}", file=sys.stderr)

    def finished(self, seconds: float) -> None:
        self._open.close()
        if self._total:
            print(
                f"{counted(self._total, 'trial')} in {seconds:.0f} s; results in {self._folder}\n"
            )


def _remaining_column() -> ProgressColumn:
    """The time left by a task's own function ``left``, or by the speed of its steps."""
    from rich.progress import Task, TimeRemainingColumn
    from rich.text import Text

    class Remaining(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            if "left" not in task.fields:
                return super().render(task)
            seconds = task.fields["left"]()
            shown = "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))
            return Text(shown, style="progress.remaining")

    return Remaining()
