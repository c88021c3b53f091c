from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adbench_harness.planning import plan, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.trial import Bundle
from adbench_harness.running.bundle import load

SLOW = """
import os, time
from pathlib import Path
from typing import ClassVar
from toys import ToyModel

class Slow(ToyModel):
    '''Writes down each fit (when, process, number) and takes its time for it.'''
    name: ClassVar[str] = "slow"
    def __init__(self, *, number: int = 0, note: str = "", seconds: float = 0.0) -> None:
        self.gain = 1.0 + number
        self.number, self.note, self.seconds = number, note, seconds
    def fit(self, train, tools):
        with open(self.note, "a") as file:
            file.write(f"{time.monotonic()} {os.getpid()} {self.number}\\n")
        time.sleep(self.seconds)
        return super().fit(train, tools)

@hookimpl
def adbench_models():
    return [Slow]
"""


@pytest.fixture
def slow(plugin_file: Callable[[str, str], str]) -> str:
    """A plugin whose model ``slow`` writes down each fit."""
    return plugin_file("slow", SLOW)


@pytest.fixture
def planned(toys: str) -> Callable[..., tuple[Bundle, ...]]:
    """The bundles of a suite over the toys and other plugins."""

    def make(*plugins: str, **keys: object) -> tuple[Bundle, ...]:
        defaults = {
            "plugins": [toys, *plugins],
            "datasets": "toy-data",
            "preprocessors": "none",
            "augmenters": "none",
            "models": "toy-mean",
            "scorers": "toy-map",
            "metrics": ["image_auroc", "pixel_auroc"],
        }
        checked = suite.validate(defaults | keys, "test")
        catalogue = load(tuple(checked.plugins))
        return plan.make(checked, catalogue, Locations(), device="cpu").bundles

    return make


@pytest.fixture
def fits(tmp_path: Path) -> Callable[[], list[tuple[float, int, int]]]:
    """What the models of ``slow`` wrote into ``note``: when, process, number."""

    def read() -> list[tuple[float, int, int]]:
        lines = (tmp_path / "note").read_text().splitlines()
        return [(float(a), int(b), int(c)) for a, b, c in map(str.split, lines)]

    return read
