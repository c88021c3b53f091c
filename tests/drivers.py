"""Runs in processes of their own, which tests start, kill and run at the same time."""

from __future__ import annotations

import sys
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from adbench_harness import session
from adbench_harness.engines.inline import Inline
from adbench_harness.listener import Listener
from adbench_harness.planning import suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import TrialResult

COUNT = 10
"""Number of trials of a run."""


class Reporting(Listener):
    """Writes down each trial that is reported as done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def trial(self, result: TrialResult) -> None:
        with self.path.open("a") as file:
            file.write(f"{result.trial.id}\n")


def prepared(toys: str, slow: str, folder: Path) -> session.Prepared:
    """A run of the model ``slow``, which writes its fits to ``note`` in ``folder``."""
    content = {
        "plugins": [toys, slow],
        "datasets": "toy-data/dark",
        "models": "slow",
        "scorers": "toy-map",
        "preprocessors": "none",
        "metrics": ["image_auroc"],
        "keep_maps": True,
        "set": {"slow.number": list(range(COUNT)), "slow.note": str(folder / "note")},
    }
    return session.prepare(
        suite.validate(content, "test"), Locations(), out=folder / "out", device="cpu"
    )


def perform(toys: str, slow: str, folder: Path) -> None:
    """Perform that run, and write what is reported to ``reported`` in ``folder``."""
    session.perform(
        prepared(toys, slow, folder), engine=Inline(), progress=Reporting(folder / "reported")
    )


def lines(path: Path) -> list[str]:
    """The lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


def report(ready: SimpleQueue[list[bool]]) -> None:
    """Say which of the modules that take long to import a process starts with."""
    names = ("torch", "torch.utils.flop_counter", "adbench_harness.metrics.ranking")
    ready.put([name in sys.modules for name in names])
