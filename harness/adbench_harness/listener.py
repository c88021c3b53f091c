"""What a session, or a download, reports while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle


class Listener:
    """Is notified of every event and ignores it; a subclass overrides what it wants to show."""

    def note(self, text: str) -> None:
        """A line for the user, such as which backbone is used instead of another."""

    @contextmanager
    def transfer(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        """A download or an unpacking: yields a function of (bytes done, total bytes).

        The total is None if it is unknown.
        """
        yield lambda done, total: None

    def started(self, stored: int, total: int, folder: Path) -> None:
        """A run starts: ``stored`` of ``total`` trials are already in ``folder``."""

    def planned(self, bundles: Sequence[Bundle]) -> None:
        """The run will work on these ``bundles``, in this order."""

    def bundle(self, title: str) -> None:
        """A bundle starts."""

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage of the bundle has finished ``done`` of ``total`` steps."""

    def trial(self, result: TrialResult) -> None:
        """A trial is done, and its result is stored."""

    def observer_failed(self, name: str, error: BaseException) -> None:
        """The observer of the plugin ``name`` raised ``error``."""

    def finished(self, seconds: float) -> None:
        """All trials are done; they took ``seconds``."""
