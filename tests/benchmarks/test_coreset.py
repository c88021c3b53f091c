"""Greedy coresets beside anomalib's, and beside the approximate ones of PatchCore's authors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_harness.nn.coreset import greedy_coreset


def patches(total: int, width: int) -> Tensor:
    """Points of 16 dimensions that count and some noise, as those of real patches."""
    draw = torch.Generator().manual_seed(0)
    mixed = torch.randn(total, 16, generator=draw) @ torch.randn(16, width, generator=draw)
    return mixed.relu_().add_(torch.randn(total, width, generator=draw), alpha=0.1)


def noise(total: int, width: int) -> Tensor:
    """The worst case: all dimensions count alike, so that no point is far from any other."""
    return torch.randn(total, width, generator=torch.Generator().manual_seed(0))


def radius(features: Tensor, picks: Tensor) -> float:
    """How far the farthest point is from its nearest pick."""
    parts = torch.split(features, 4096)
    return max(float(torch.cdist(part, features[picks]).amin(1).max()) for part in parts)


@pytest.mark.parametrize(
    ("share", "total", "width", "kind"),
    [
        (0.01, 40_000, 384, patches),
        (0.01, 40_000, 1024, patches),
        (0.1, 40_000, 384, patches),
        (0.1, 40_000, 384, noise),
    ],
)
def test_greedy(race: Any, machine: Any, share: float, total: int, width: int, kind: Any) -> None:
    peer = pytest.importorskip("anomalib.models.components", exc_type=ImportError)
    features = kind(total, width).to(machine.device)
    count = int(share * total)
    ours, theirs = race(
        f"greedy coreset, {share:.0%} of {total:,} x {width}, {kind.__name__}",
        lambda: greedy_coreset(features, count, torch.Generator().manual_seed(0)),
        "anomalib's KCenterGreedy",
        lambda: peer.KCenterGreedy(features, share).select_coreset_idxs(),
        rounds=1,
        limit=machine.products(2 * count * total * 128),
    )
    assert len(ours.unique()) == count == len(theirs)
    # Both project at random, to different dimensions; the rest is the same.
    assert radius(features, ours) < 1.1 * radius(features, torch.tensor(theirs))


def test_approximate(race: Any, machine: Any) -> None:
    sampler = pytest.importorskip("patchcore.sampler")
    features, count = patches(40_000, 384).to(machine.device), 400
    approximate = sampler.ApproximateGreedyCoresetSampler(0.01, machine.device)
    ours, theirs = race(
        "exact coreset, 1% of 40,000 x 384, patches",
        lambda: greedy_coreset(features, count, torch.Generator().manual_seed(0)),
        "patchcore-inspection's approximate",
        lambda: approximate.run(features),
        rounds=1,
        limit=machine.products(2 * count * len(features) * 128),
    )
    assert len(ours) == len(theirs)
