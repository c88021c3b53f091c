"""Many tiny trials with random faults in one run, and the memory that it takes meanwhile.

``python tests/soak.py COUNT FOLDER`` runs them into FOLDER and prints what happened as JSON. It is
also the plugin whose model commits the faults.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import psutil
import torch

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import AnomalyMap, Batch, ImageScore, Level, Outputs, Tools, TrainSet

sys.path.insert(0, str(Path(__file__).parent))
from toys import ToyModel

LIMIT = 6.0
"""Seconds that a trial may take; a few take for ever."""
SHARES = {
    "none": 0.8,
    "raise": 0.08,
    "nan": 0.03,
    "exit": 0.03,
    "os-exit": 0.03,
    "kill": 0.02,
    "hang": 0.01,
}
"""The faults, and how often each is committed."""


def fault(number: int) -> str:
    """What the trial of this number does; every fault is among the first seven."""
    if number < len(SHARES):
        return list(SHARES)[number]
    return random.Random(number).choices(list(SHARES), list(SHARES.values()))[0]


class Soak(ToyModel):
    """Commits the fault of its number."""

    name: ClassVar[str] = "soak"

    def __init__(self, *, number: int = 0) -> None:
        self.gain = 1.0
        self.number = number

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        match fault(self.number):
            case "raise":
                raise ValueError(f"number {self.number}" + "x" * 10_000)
            case "exit":
                sys.exit(0)
            case "os-exit":
                os._exit(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
        return super().fit(train, tools)

    def predict(self, batch: Batch) -> Outputs:
        if fault(self.number) == "nan":
            maps = torch.full((len(batch), 8, 8), torch.nan)
            return Outputs((32, 32), AnomalyMap((Level(maps),)), ImageScore(maps[:, 0, 0]))
        return super().predict(batch)


@hookimpl
def adbench_models() -> list[type[ToyModel]]:
    return [Soak]


def _workers() -> list[psutil.Process]:
    """The worker processes, which are copies of this process' child."""
    return [worker for child in psutil.Process().children() for worker in child.children()]


def _megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 1e6)
    except psutil.Error:  # it has ended
        return 0.0


def main(count: int, folder: Path) -> dict[str, Any]:
    """Run ``count`` trials; what was stored of them by fault, and the MB held at each of them."""
    from adbench_harness import session
    from adbench_harness.engines.local import Local
    from adbench_harness.listener import Listener
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.suite import validate
    from adbench_harness.results.store import TrialResult

    driver: list[float] = []
    workers: list[float] = []

    class Watching(Listener):
        def trial(self, result: TrialResult) -> None:
            driver.append(_megabytes(psutil.Process()))
            workers.append(max(map(_megabytes, _workers()), default=0.0))

    suite = {
        "plugins": [__file__, str(Path(__file__).with_name("toys.py"))],
        "datasets": "toy-data/dark",
        "preprocessors": "none",
        "augmenters": "none",
        "models": {"name": "soak", "number": list(range(count))},
        "scorers": "toy-map",
        "metrics": ["image_auroc", "pixel_auroc"],
    }
    checked = validate(suite, "soak")
    prepared = session.prepare(checked, Locations(), out=folder, device="cpu")
    start = time.monotonic()
    results = session.perform(prepared, engine=Local(2, 1, LIMIT), progress=Watching())
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in SHARES}
    for result in results:
        text = "ok" if result.status == "ok" else ""
        for failure in result.failures:
            text = f"{failure.stage}: {failure.message[:60]}"
        number = result.trial.model.params["number"]
        outcomes[fault(number)][text.replace(f"number {number}x", "number Nx")] += 1
    return {
        "seconds": time.monotonic() - start,
        "reported": len(driver),
        "stored": len(list(folder.glob("trials/*.json"))),
        "stray": [path.name for path in folder.rglob("*.tmp")],
        "workers left": len(_workers()),
        "outcomes": outcomes,
        "driver": driver,
        "workers": workers,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), Path(sys.argv[2]))))
