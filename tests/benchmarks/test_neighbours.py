"""Searches beside faiss's, and PatchCore's scores beside anomalib's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings
from adbench_patchcore.scorers import ReweightedNearestNeighbour


def vectors(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).relu_()


@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize(("size", "width"), [(1568, 1024), (15_680, 1024), (15_680, 384)])
def test_search(race: Any, machine: Any, size: int, width: int, k: int) -> None:
    faiss = pytest.importorskip("faiss")
    queries, bank = vectors(7840, width, 0), vectors(size, width, 1)
    index = faiss.IndexFlatL2(width)
    index.add(bank.numpy())
    on_device, search = queries.to(machine.device), Neighbours(bank.to(machine.device))
    (_, ours), (_, theirs) = race(
        f"search for {k}, 7,840 in {size:,} x {width}",
        lambda: search.search(on_device.clone(), k),
        "faiss's IndexFlatL2 on the CPU",
        lambda: index.search(queries.numpy(), k),
        limit=machine.products(2 * 7840 * size * width),
    )
    assert (ours.cpu() == torch.from_numpy(theirs)).float().mean() > 0.999


@pytest.mark.parametrize("size", [1568, 15_680])
def test_patchcore_scores(race: Any, machine: Any, size: int) -> None:
    anomalib = pytest.importorskip(
        "anomalib.models.image.patchcore.torch_model", exc_type=ImportError
    )
    images, side, width = 40, 28, 384
    patches = vectors(images * side * side, width, 0).to(machine.device)
    bank = vectors(size, width, 1).to(machine.device)
    peer = anomalib.PatchcoreModel(["layer2"], "resnet18", pre_trained=False, num_neighbors=9)
    peer.memory_bank = bank
    scorer, search = ReweightedNearestNeighbour(sigma=0), Neighbours(bank)

    def score() -> Tensor:
        level = Level(patches.clone().view(images, side, side, width))
        outputs = Outputs((side, side), PatchEmbeddings((level,)), PatchBank((search,)))
        return scorer.score(outputs).image

    def peers() -> Tensor:
        distances, places = (
            found.view(images, -1) for found in peer.nearest_neighbors(patches, n_neighbors=1)
        )
        return peer.compute_anomaly_score(distances, places, patches)

    ours, theirs = race(
        f"PatchCore's scores of 40 images, bank of {size:,} x {width}",
        score,
        "anomalib's Patchcore",
        peers,
        limit=machine.products(2 * len(patches) * size * width),
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
