"""Searches beside faiss's, and PatchCore's scores beside anomalib's."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.planning import plan, plugins
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.suite import Suite
from adbench_harness.running.bundle import run_bundle
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings
from adbench_patchcore.scorers import ReweightedNearestNeighbour


def vectors(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).relu_()


REAL = os.environ.get("ADBENCH_REAL_DATA")


def _beside_faiss(
    race: Callable[..., Any], machine: Any, what: str, queries: Tensor, bank: Tensor, k: int
) -> None:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank.numpy())
    on_device, search = queries.to(machine.device), Neighbours(bank.to(machine.device))

    def again() -> tuple[Tensor, Tensor]:
        search._last = None  # the result of the same queries, which would be used again
        return search.search(on_device, k)

    (ours, _), (theirs, _) = race(
        f"search for {k}, {len(queries):,} in {len(bank):,} x {bank.shape[1]}, {what}",
        again,
        "faiss's IndexFlatL2 on the CPU",
        lambda: index.search(queries.numpy(), k),
        limit=machine.products(2 * len(queries) * bank.numel()),
    )
    # Theirs err by a few |q|^2 / 2^22, ours are exact; equal vectors may be named in another order.
    error = float(queries.square().sum(1).max()) * 2e-6
    torch.testing.assert_close(ours.cpu(), torch.from_numpy(theirs), rtol=1e-5, atol=error)


@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize(("size", "width"), [(1568, 1024), (15_680, 1024), (15_680, 384)])
def test_search_of_noise(race: Any, machine: Any, size: int, width: int, k: int) -> None:
    """Vectors without structure, of which bounds rule out none."""
    _beside_faiss(race, machine, "noise", vectors(7840, width, 0), vectors(size, width, 1), k)


@pytest.mark.parametrize("k", [1, 9])
@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
@pytest.mark.parametrize("ratio", [0.01, 0.1, 1.0])
def test_search_of_features(race: Any, machine: Any, ratio: float, backbone: str, k: int) -> None:
    """PatchCore's bank of bottle, and the patches of ten test images."""
    queries, bank = _patchcore(backbone, ratio)
    _beside_faiss(race, machine, f"bottle's {backbone}", queries, bank, k)


@cache
def _patchcore(backbone: str, ratio: float) -> tuple[Tensor, Tensor]:
    if not REAL:
        pytest.skip("ADBENCH_REAL_DATA names no folder with data/ and weights/")
    seen: list[tuple[Tensor, Tensor]] = []

    def search(self: Neighbours, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        seen.append((queries.clone(), self.bank))
        return torch.zeros(len(queries), k), torch.zeros(len(queries), k, dtype=torch.int64)

    suite = Suite(
        plugins=["patchcore"],
        datasets="mvtec_ad/bottle",
        models=f"patchcore:coreset_ratio={ratio}",
        scorers="nn",
        backbone=backbone,
    )
    locations = Locations(data=f"{REAL}/data", weights=f"{REAL}/weights")
    (bundle,) = plan.make(suite, plugins.load(["patchcore"]), locations).bundles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Neighbours, "search", search)
        list(run_bundle(bundle))
    return torch.cat([queries for queries, _ in seen])[:7840], seen[0][1]


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
