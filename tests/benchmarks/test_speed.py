"""Speed of what this project exists for, beside a named peer on the same inputs in one run.

``tox -e bench`` shows each pair as one group; the ratio column is the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from adbench_harness.metrics.ranking import Ranking
from adbench_harness.nn.coreset import greedy_coreset
from adbench_harness.nn.neighbours import Neighbours


def _embeddings(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def _category() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Twenty maps of 500 x 500 with 2% defective pixels."""
    draw = np.random.default_rng(0)
    maps = list(draw.random((20, 500, 500), dtype=np.float32))
    masks = []
    for _ in maps:
        mask = np.zeros((500, 500), dtype=bool)
        top, left = draw.integers(0, 430, 2)
        mask[top : top + 70, left : left + 70] = True
        masks.append(mask)
    return maps, masks


@pytest.mark.benchmark(group="pixel metrics, 5 M pixels")
def test_auroc_ap_f1_aupro(benchmark: Any) -> None:
    maps, masks = _category()

    def measure() -> list[float]:
        ranking = Ranking.of_pixels(maps, masks)
        return [
            ranking.auroc(),
            ranking.average_precision(),
            ranking.f1_max(),
            ranking.aupro(0.3),
        ]

    assert 0.4 < benchmark(measure)[0] < 0.6


@pytest.mark.benchmark(group="pixel metrics, 5 M pixels")
def test_peer_sklearn_auroc_alone(benchmark: Any) -> None:
    maps, masks = _category()
    labels, scores = np.concatenate(masks).ravel(), np.concatenate(maps).ravel()
    assert 0.4 < benchmark(lambda: roc_auc_score(labels, scores)) < 0.6


@pytest.mark.benchmark(group="coreset, 1% of 40,000 x 384")
def test_greedy_coreset(benchmark: Any) -> None:
    features = _embeddings(40_000, 384, 0)
    picks = benchmark(lambda: greedy_coreset(features, 400, torch.Generator().manual_seed(0)))
    assert len(picks.unique()) == 400


@pytest.mark.benchmark(group="coreset, 1% of 40,000 x 384")
def test_peer_one_pick_at_a_time(benchmark: Any) -> None:
    """The loop of anomalib and of most re-implementations, on features projected alike."""
    features = _embeddings(40_000, 384, 0)

    def pick() -> list[int]:
        points = features @ torch.randn(384, 128) / 128**0.5
        picks = [0]
        distances = torch.full((len(points),), torch.inf)
        while len(picks) < 400:
            latest = (points - points[picks[-1]]).square().sum(1)
            distances = torch.minimum(distances, latest)
            picks.append(int(distances.argmax()))
        return picks

    assert len(set(benchmark(pick))) == 400


@pytest.mark.benchmark(group="search, 7,840 in 16,000 x 384")
def test_neighbours(benchmark: Any) -> None:
    queries, bank = _embeddings(7_840, 384, 1), Neighbours(_embeddings(16_000, 384, 2))
    distances, _ = benchmark(lambda: bank.search(queries.clone(), 1))
    assert distances.shape == (7_840, 1)


@pytest.mark.benchmark(group="search, 7,840 in 16,000 x 384")
def test_peer_faiss(benchmark: Any) -> None:
    faiss = pytest.importorskip("faiss")
    queries, bank = _embeddings(7_840, 384, 1), _embeddings(16_000, 384, 2)
    index = faiss.IndexFlatL2(384)
    index.add(bank.numpy())
    assert benchmark(lambda: index.search(queries.numpy(), 1))[0].shape == (7_840, 1)
