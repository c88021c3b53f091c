"""PaDiM's Gaussians and distances beside anomalib's, from the same embeddings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adbench_harness.types import Batch, Level
from adbench_padim.model import PaDiM
from adbench_padim.scorers import distances

IMAGES, TESTED, SIDE, DIMENSIONS = 60, 40, 28, 275


def embeddings(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, DIMENSIONS, SIDE, SIDE, generator=draw)


@pytest.mark.parametrize("what", ["fit", "distances"])
def test_padim(race: Any, machine: Any, what: str) -> None:
    stats = pytest.importorskip("anomalib.models.components.stats", exc_type=ImportError)
    maps = pytest.importorskip("anomalib.models.image.padim.anomaly_map", exc_type=ImportError)
    train, test = (embeddings(*which).to(machine.device) for which in ((IMAGES, 0), (TESTED, 1)))
    model = PaDiM(layers=("layer1",), dimensions=DIMENSIONS, epsilon=0.01001)
    images = Batch(train, torch.zeros(IMAGES, dtype=torch.int64))
    tools = SimpleNamespace(
        generator=torch.Generator(),
        features=lambda _: lambda batch: {"layer1": batch.images},
        progress=lambda *_: None,
    )
    whole = SimpleNamespace(batches=lambda: [images])
    fit, peer = lambda: model.fit(whole, tools), lambda: stats.MultiVariateGaussian().fit(train)
    size = f"{DIMENSIONS} dimensions at {SIDE} x {SIDE}"
    if what == "fit":
        fitted, (mean, precision) = race(
            f"PaDiM's fit to {IMAGES} images, {size}", fit, "anomalib's", peer, rounds=1
        )
        torch.testing.assert_close(fitted.mean.flatten(0, 1), mean.T, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(fitted.precision.flatten(0, 1), precision, rtol=0, atol=0.1)
        return
    fitted, gaussians = fit(), peer()
    patches = Level(test.permute(0, 2, 3, 1).contiguous())
    ours, theirs = race(
        f"PaDiM's distances of {TESTED} images, {size}",
        lambda: distances(patches, fitted.mean, fitted.precision),
        "anomalib's",
        lambda: maps.AnomalyMapGenerator.compute_distance(test, gaussians),
        limit=machine.traffic(fitted.precision.nbytes),
    )
    torch.testing.assert_close(ours, theirs[:, 0], rtol=1e-3, atol=1e-3)
