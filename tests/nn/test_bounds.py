"""The search by lower bounds finds what brute force in float64 finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adbench_harness.nn import bounds, neighbours
from adbench_harness.nn.bounds import Bounds, squared_distances
from adbench_harness.nn.neighbours import Neighbours

WIDTH = 2 * bounds.WIDTH


def features(count: int, seed: int, rank: int = 8) -> Tensor:
    """Vectors [count, WIDTH] near a subspace, as features of images are."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.randn(rank, WIDTH, generator=torch.Generator().manual_seed(99))
    along = torch.randn(count, rank, generator=generator)
    return along @ axes + 0.05 * torch.randn(count, WIDTH, generator=generator)


def brute_force(queries: Tensor, bank: Tensor) -> Tensor:
    return (queries[:, None].double() - bank[None].double()).square().sum(2)


def assert_nearest(queries: Tensor, bank: Tensor, k: int) -> None:
    """No vector that was left out is nearer than one that was found, but for float32 ties."""
    found = Bounds(bank).search(queries, k)
    assert found.shape == (len(queries), k)
    assert all(len(set(row)) == k for row in found.tolist())
    distances = brute_force(queries, bank)
    ours = distances.gather(1, found).sort(1).values
    best = distances.sort(1).values[:, :k]
    torch.testing.assert_close(ours, best, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 9, 32])
@pytest.mark.parametrize("size", [64, 1000, 1024, 1030, 2500])
def test_agrees_with_brute_force(k: int, size: int) -> None:
    assert_nearest(features(300, 0), features(size, 1), k)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**20),
    size=st.integers(64, 300),
    k=st.integers(1, 32),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 1.0, 1000.0]),
    rank=st.sampled_from([1, 3, 40, WIDTH]),
)
def test_any_scale_offset_and_rank(
    seed: int, size: int, k: int, scale: float, offset: float, rank: int
) -> None:
    bank, queries = features(size, seed, rank), features(20, seed + 1, rank)
    queries[:5] = bank[:5]
    bank, queries = scale * (bank + offset), scale * (queries + offset)
    found = Bounds(bank).search(queries, k)
    ours = squared_distances(queries, bank, found).double()
    best = brute_force(queries, bank).sort(1).values[:, :k]
    # float32 differences of vectors that lie far from the origin are this exact, and no more.
    exact = float((scale * (offset + 10)) ** 2) * 1e-10
    torch.testing.assert_close(ours.sort(1).values, best, rtol=1e-5, atol=exact)


def test_one_far_vector_loosens_the_bounds_and_loses_nothing() -> None:
    bank = features(500, 1)
    bank[7] = 1e4
    assert_nearest(features(50, 0), bank, 3)


def test_equal_distances_are_ordered_by_index() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randint(0, 2, (8 * bounds.BLOCK, WIDTH), generator=generator).float()
    bank[bounds.BLOCK + 5 : bounds.BLOCK + 25] = bank[3]
    distances, indices = Neighbours(bank).search(bank[3:4], 4)
    assert indices.tolist() == [[3, *range(bounds.BLOCK + 5, bounds.BLOCK + 8)]]
    assert distances.tolist() == [[0.0] * 4]


@pytest.mark.parametrize("k", [1, 9])
def test_bounds_and_products_give_the_same(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, bank = features(300, 0), features(3000, 1)
    bank[-50:] = bank[:50]
    pruned = Neighbours(bank)
    found = pruned.search(queries, k)
    assert pruned._pays
    monkeypatch.setattr(Bounds, "suit", staticmethod(lambda bank: False))
    expected = Neighbours(bank).search(queries, k)
    with neighbours.counted():
        counted = Neighbours(bank).search(queries, k)
    for other in (expected, counted):
        assert torch.equal(found[0], other[0])
        assert torch.equal(found[1], other[1])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    queries, bank = features(101, 0), features(1500, 1)
    expected = Neighbours(bank).search(queries, 3)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = Neighbours(bank).search(queries, 3)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_few_distances_are_computed() -> None:
    queries, bank = features(200, 0), features(4000, 1)
    _, measured = Bounds(bank)._search(queries, 1, len(bank))
    assert len(queries) <= measured < 0.05 * len(queries) * len(bank)


def test_vectors_without_structure_are_left_to_products() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(2000, WIDTH, generator=generator)
    queries = torch.randn(100, WIDTH, generator=generator)
    search = Neighbours(bank)
    _, indices = search.search(queries)
    assert not search._pays
    assert torch.equal(indices[:, 0], brute_force(queries, bank).argmin(1))


def test_a_bank_without_variance() -> None:
    bank = torch.ones(100, WIDTH)
    distances, indices = Neighbours(bank).search(features(10, 0), 2)
    assert indices.tolist() == [[0, 1]] * 10
    torch.testing.assert_close(distances[:, 0].double(), brute_force(features(10, 0), bank)[:, 0])


def test_squared_distances_by_hand() -> None:
    queries, bank = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0], [4.0, 6.0]])
    found = squared_distances(queries, bank, torch.tensor([[1, 0, 1]]))
    np.testing.assert_array_equal(found.numpy(), [[25.0, 0.0, 25.0]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e25])
@pytest.mark.parametrize("width", [8, WIDTH])
def test_a_bank_that_is_not_finite_is_refused(value: float, width: int) -> None:
    bank = features(100, 1)[:, :width].clone()
    bank[7, 3] = value
    with pytest.raises(ValueError, match="not finite"):
        Neighbours(bank)


def test_a_bank_that_was_modified_is_prepared_again() -> None:
    bank, queries = features(500, 1), features(50, 0)
    search = Neighbours(bank)
    search.search(queries)
    bank.copy_(features(500, 2) + 3)
    _, indices = search.search(queries)
    assert torch.equal(indices[:, 0], brute_force(queries, bank).argmin(1))


def test_equal_vectors_come_in_the_order_of_the_bank() -> None:
    bank = torch.full((200, WIDTH), 0.25)
    distances, indices = Neighbours(bank).search(bank[:5].clone(), 3)
    assert indices.tolist() == [[0, 1, 2]] * 5
    assert not distances.any()


def test_a_bank_of_float64_is_ranked_by_products() -> None:
    bank, queries = features(100, 1).double(), features(9, 0).double()
    _, indices = Neighbours(bank).search(queries)
    assert torch.equal(indices[:, 0], brute_force(queries, bank).argmin(1))
