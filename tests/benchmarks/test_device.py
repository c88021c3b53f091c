"""What runs on a GPU, beside plain torch on the same device; small where there is only a CPU.

It needs nothing but the harness: no faiss, no network, no other package to race against, and less
than ten minutes::

    python -m pytest tests/benchmarks/test_device.py --benchmark-only --speed-table FILE
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adbench_harness.metrics.ranking import Ranking
from adbench_harness.nn.coreset import greedy_coreset
from adbench_harness.nn.neighbours import Neighbours
from adbench_padim.model import precision

GPU = torch.cuda.is_available()
IMAGES = 200 if GPU else 8
PATCHES = IMAGES * 784


@pytest.fixture(scope="module")
def features(machine: Any) -> Tensor:
    """Patch features of ``IMAGES`` images, of 16 dimensions that count and some noise."""
    draw = torch.Generator().manual_seed(0)
    mixed = torch.randn(PATCHES, 16, generator=draw) @ torch.randn(16, 1024, generator=draw)
    return (
        mixed.relu_().add_(torch.randn(PATCHES, 1024, generator=draw), alpha=0.1).to(machine.device)
    )


def one_pick_at_a_time(features: Tensor, count: int) -> Tensor:
    """The textbook's loop on features projected alike."""
    points = features @ torch.randn(features.shape[1], 128, device=features.device) / 128**0.5
    distances = points.new_full((len(points),), torch.inf)
    picks = [torch.zeros((), dtype=torch.int64, device=points.device)]
    for _ in range(count - 1):
        distances = torch.minimum(distances, (points - points[picks[-1]]).square().sum(1))
        picks.append(distances.argmax())
    return torch.stack(picks)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_coreset(race: Callable[..., Any], machine: Any, features: Tensor, share: float) -> None:
    count = int(share * PATCHES)
    ours, theirs = race(
        f"greedy coreset, {share:.0%} of {PATCHES:,} x 1024",
        lambda: greedy_coreset(features, count, torch.Generator().manual_seed(0)),
        "one pick at a time, torch",
        lambda: one_pick_at_a_time(features, count),
        rounds=1,
        # A pick at a time, every pick reads all projected points once.
        limit=machine.traffic(count * PATCHES * 128 * 4),
    )
    assert len(ours.unique()) == len(theirs.unique()) == count


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_search(race: Callable[..., Any], machine: Any, features: Tensor, share: float) -> None:
    bank = features[: int(share * PATCHES)].clone()
    queries = features[: min(PATCHES, 32 * 784)] + 0.01
    search = Neighbours(bank)

    def by_cdist() -> tuple[Tensor, Tensor]:
        found = [torch.cdist(part, bank).topk(9, largest=False) for part in queries.split(512)]
        return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])

    (_, ours), (_, theirs) = race(
        f"search for 9, {len(queries):,} in {len(bank):,} x 1024",
        lambda: search.search(queries.clone(), 9),
        "torch.cdist and topk",
        by_cdist,
        limit=machine.products(2 * len(queries) * len(bank) * 1024),
    )
    # cdist expands the square, and loses the digits that tell near ones apart.
    assert (ours[:, 0] == theirs[:, 0]).float().mean() > 0.99


def test_pixel_metrics(race: Callable[..., Any], machine: Any) -> None:
    count, side = (155, 1000) if GPU else (10, 500)
    draw = np.random.default_rng(0)
    maps = [draw.random((side, side), dtype=np.float32) for _ in range(count)]
    masks = [np.zeros((side, side), dtype=bool) for _ in range(count)]
    for mask in masks[::2]:
        mask[100:270, 100:270] = True
    tensors = [torch.from_numpy(m).to(machine.device) for m in maps]
    scores = torch.cat([t.flatten() for t in tensors])
    labels = torch.from_numpy(np.concatenate([m.ravel() for m in masks])).to(machine.device)

    def ours() -> list[float]:
        ranking = Ranking.of_pixels(tensors, masks)
        return [
            *(ranking.auroc(), ranking.average_precision()),
            *(ranking.f1_max(), ranking.aupro(0.3)),
        ]

    def by_sort() -> float:
        """AUROC alone, no ties: the mean rank of the defective pixels."""
        ranks = torch.empty_like(scores, dtype=torch.int64)
        ranks[scores.argsort()] = torch.arange(len(scores), device=scores.device)
        positives = int(labels.sum())
        above = int(ranks[labels].sum()) - positives * (positives - 1) // 2
        return above / (positives * (len(scores) - positives))

    four, auroc = race(
        f"AUROC, AP, F1-max, AUPRO, {count} maps of {side} x {side}",
        ours,
        "torch.sort: AUROC",
        by_sort,
        limit=machine.traffic(scores.nbytes + labels.nbytes),
    )
    assert four[0] == pytest.approx(auroc, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_backbone(race: Callable[..., Any], machine: Any, dtype: torch.dtype) -> None:
    """The features alone, from pixels already on the device: as much as the network allows."""
    from adbench_harness.planning import parameters, plugins
    from adbench_harness.planning.grammar import component
    from adbench_harness.results.trial import Weights
    from adbench_harness.running import features

    name = "wide_resnet50_2" if GPU else "resnet18"
    catalogue = plugins.load(["patchcore"])
    choice = parameters.resolve(catalogue, "backbone", component(name))
    backbone = parameters.build(catalogue, "backbone", choice)
    layers = ("layer2", "layer3")
    weights = Weights(name, backbone.version)  # random: the time is the same
    network = features.load(backbone, layers, weights, machine.device).to(dtype)
    plain: nn.Module = backbone.network(layers).to(machine.device).eval()
    size = 64 if GPU else 4
    images = torch.rand(size, 3, 224, 224, device=machine.device)
    fast = images.to(dtype, memory_format=torch.channels_last)

    def run(module: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            for _ in range(4):
                grids = module(batch)
        return grids

    said = str(dtype).removeprefix("torch.")
    ours, theirs = race(
        f"{name} to layer3, {4 * size} images of 224 px, {said}",
        lambda: run(network, fast),
        "the same in float32, channels first",
        lambda: run(plain, images),
    )
    assert {key: grid.shape for key, grid in ours.items()} == {
        key: grid.shape for key, grid in theirs.items()
    }


def test_padims_fit(race: Callable[..., Any], machine: Any) -> None:
    places, depth = (784, 550) if GPU else (16, 550)
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(places, 60, depth, generator=draw, dtype=torch.float64)
    centred = (vectors - vectors.mean(1, keepdim=True)).to(machine.device)

    def by_inverse() -> Tensor:
        identity = torch.eye(depth, dtype=centred.dtype, device=centred.device)
        return torch.linalg.inv(centred.mT @ centred / 59 + 0.01 * identity)

    ours, theirs = race(
        f"PaDiM's precisions, {places} places, 60 images, {depth} dimensions",
        lambda: precision(centred, 0.01),
        "torch.linalg.inv",
        by_inverse,
        rounds=1,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
