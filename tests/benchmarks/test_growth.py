"""How time and memory grow with the images and with the bank: no faster than the method asks.

PatchCore on drawn features, 256 patches of 256 values an image; the metrics on drawn maps. With a
share r of N images' patches, greedy selection needs r N^2 distances, and a search r N an image;
metrics need N pixels' worth of work. ``--growth DIR`` runs the full sizes and writes the plot
``growth.svg`` and the table ``growth.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from adbench_harness.basic.metrics import METRICS
from adbench_harness.evaluation import Evaluation
from adbench_harness.running import cost
from adbench_harness.testing.fitting import tools
from adbench_harness.types import Batch, Features
from adbench_patchcore.model import PatchCore
from adbench_patchcore.scorers import NearestNeighbour

GRID, DEPTH, MAP, TESTED = 16, 256, 128, 32
IMAGES = {"reduced": (50, 100, 200), "full": (50, 100, 200, 400, 800, 1200, 2000)}
RATIOS = {"reduced": (0.01, 0.02, 0.05), "full": (0.01, 0.02, 0.05, 0.1, 0.25)}
FIXED = {"reduced": 100, "full": 400}
# The highest power that the method needs; a fit by greedy selection is a square of the images.
POWERS = {
    ("images", "fit", "s"): 2,
    ("images", "fit", "MB"): 1,
    ("images", "predict", "s"): 1,
    ("images", "predict", "MB"): 1,
    ("images", "metrics", "s"): 1,
    ("images", "metrics", "MB"): 1,
    ("ratio", "fit", "s"): 1,
    ("ratio", "fit", "MB"): 1,
    ("ratio", "predict", "s"): 1,
    ("ratio", "predict", "MB"): 1,
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PLACES = torch.randn(DEPTH, GRID, GRID, generator=torch.Generator().manual_seed(0))


class Drawn:
    """``count`` images of no pixels: what a backbone says of each is drawn from its seed."""

    classes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def batches(self, *_: Any) -> Iterator[Batch]:
        for start in range(0, self.count, 16):
            seeds = torch.arange(start, min(start + 16, self.count))
            yield Batch(torch.zeros(len(seeds), 3, GRID, GRID, device=DEVICE), seeds)


def features(_: Any) -> Features:
    """Every place looks its own way, and every image a little different."""

    def extract(batch: Batch) -> dict[str, torch.Tensor]:
        draw = torch.Generator().manual_seed(int(batch.seeds[0]))
        noise = torch.randn(len(batch), *PLACES.shape, generator=draw)
        return {"layer": (PLACES + 0.5 * noise).to(DEVICE)}

    return extract


def watched(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What ``work`` returned, its seconds, and its peak memory in MB."""
    memory = cost.Memory(DEVICE)
    with memory.watch() as peak:
        start = time.perf_counter()
        result = work()
        cost.synchronise(DEVICE)
        return result, time.perf_counter() - start, peak()


def fitted(count: int, ratio: float) -> Iterator[tuple[str, float, float]]:
    """Stage, seconds and MB of a fit on ``count`` images and of 32 more scored."""
    model = PatchCore(
        backbone="drawn",
        layers=("layer",),
        neighbourhood=1,
        embedding="means",
        coreset_ratio=ratio,
    )
    given = replace(tools(None, GRID), device=DEVICE, features=features)
    model, seconds, megabytes = watched(lambda: model.fit(Drawn(count), given))
    yield "fit", seconds, megabytes
    scorer = NearestNeighbour()
    batches = list(Drawn(TESTED).batches())
    _, seconds, megabytes = watched(lambda: [scorer.score(model.predict(b)) for b in batches])
    yield "predict", seconds, megabytes


def evaluated(count: int) -> Iterator[tuple[str, float, float]]:
    """Likewise of every metric of ``count`` images and their maps."""
    draw = np.random.default_rng(0)
    maps = draw.random((count, MAP, MAP), dtype=np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[::2, 20:40, 30:60] = True
    evaluation = Evaluation(
        labels=masks.any((1, 2)).astype(np.int8),
        scores=maps.max((1, 2)),
        maps=list(maps),
        masks=list(masks),
    )
    _, seconds, megabytes = watched(
        lambda: [m.compute(evaluation) for m in METRICS if evaluation.has(m.needs)]
    )
    yield "metrics", seconds, megabytes


def measured(size: str) -> pd.DataFrame:
    """Seconds (the best of three) and MB by axis, its value, and stage."""
    rows = []
    for _ in range(3):
        for count in IMAGES[size]:
            stages = (*fitted(count, 0.01), *evaluated(count))
            rows += [("images", count, *stage) for stage in stages]
        for ratio in RATIOS[size]:
            rows += [("ratio", ratio, *stage) for stage in fitted(FIXED[size], ratio)]
    table = pd.DataFrame(rows, columns=["axis", "value", "stage", "s", "MB"])
    keys = ["axis", "stage", "value"]
    return table.groupby(keys, as_index=False).agg({"s": "min", "MB": "max"})


def power(values: pd.Series[float], costs: pd.Series[float]) -> float:
    """The exponent of the power law that fits best."""
    return float(np.polyfit(np.log(values), np.log(costs.clip(lower=1e-3)), 1)[0])


def test_nothing_grows_faster_than_the_method(
    benchmark: Any, request: pytest.FixtureRequest
) -> None:
    folder: Path | None = request.config.getoption("--growth")
    list(fitted(50, 0.01))  # what is loaded only once does not count as growth
    table = benchmark.pedantic(measured, ("full" if folder else "reduced",), rounds=1)
    found = {}
    for axis, stage, unit in POWERS:
        part = table[table["axis"].eq(axis) & table["stage"].eq(stage)]
        found[axis, stage, unit] = power(part["value"], part[unit])
    benchmark.extra_info["powers"] = {" ".join(key): value for key, value in found.items()}
    said = pd.DataFrame(
        [(*key, f"{value:.2f}", POWERS[key]) for key, value in found.items()],
        columns=["against", "stage", "of", "grows by the power", "the method's"],
    )
    print(table.to_string(), said.to_string(), sep="\n")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        drawn(table, folder / "growth.svg")
        parts = [said.to_markdown(index=False), table.to_markdown(index=False, floatfmt=".3g")]
        (folder / "growth.md").write_text("\n\n".join(parts) + "\n")
    for key, value in found.items():
        assert value < POWERS[key] + 0.25, key


def drawn(table: pd.DataFrame, path: Path) -> None:
    """A panel an axis and unit, a line a stage; logarithmic, so that a power is a slope."""
    names = {"images": "training or test images", "ratio": "share of patches in the bank"}
    with mpl.rc_context({"svg.hashsalt": "adbench", "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure((9, 7), layout="constrained")
        for panel, (axis, unit) in zip(
            figure.subplots(2, 2).flat, ((a, u) for a in names for u in ("s", "MB")), strict=True
        ):
            for stage, part in table[table["axis"].eq(axis)].groupby("stage"):
                panel.loglog(part["value"], part[unit], marker=".", label=stage)
            panel.set(xlabel=names[axis], ylabel=unit)
            panel.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})
