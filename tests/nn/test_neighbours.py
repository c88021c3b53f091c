from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from adbench_harness.nn import bounds, neighbours
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.running import cost


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def brute_force(
    queries: torch.Tensor, bank: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    distances = (queries.double()[:, None] - bank.double()).square().sum(2)
    distances, indices = distances.sort(dim=1, stable=True)
    return distances[:, :k], indices[:, :k]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 7)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_agrees_with_scikit_learn(k: int) -> None:
    queries, bank = random(300, 24), random(5000, 24, seed=1)
    distances, indices = Neighbours(bank).search(queries, k)
    reference = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank.double().numpy())
    expected, expected_indices = reference.kneighbors(queries.double().numpy())
    assert distances.dtype == torch.float32
    assert indices.dtype == torch.int64
    np.testing.assert_array_equal(indices.numpy(), expected_indices)
    np.testing.assert_allclose(distances.numpy(), expected**2, rtol=1e-5)


def test_agrees_with_faiss() -> None:
    faiss = pytest.importorskip("faiss")
    queries, bank = random(200, 64), random(3000, 64, seed=1)
    index = faiss.IndexFlatL2(64)
    index.add(bank.numpy())
    expected, expected_indices = index.search(queries.numpy(), 5)
    distances, indices = Neighbours(bank).search(queries, 5)
    np.testing.assert_array_equal(indices.numpy(), expected_indices)
    np.testing.assert_allclose(distances.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 9])
def test_faiss_and_torch_give_the_same(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = pytest.importorskip("faiss")
    used = []
    knn = faiss.knn
    monkeypatch.setattr(faiss, "knn", lambda *args: used.append(k) or knn(*args))
    queries, bank = random(300, 32), random(4 * neighbours.TILE + 100, 32, seed=1)
    bank[-50:] = bank[:50]  # ties
    found = Neighbours(bank).search(queries, k)
    assert used
    with neighbours.counted():
        expected = Neighbours(bank).search(queries, k)
    assert len(used) == 2  # tiles
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


# Small integers: every distance is exact, and ties and duplicates abound.
@settings(deadline=None)
@given(data=st.data(), k=st.integers(1, 12), offset=st.sampled_from([0, 1000]))
def test_orders_ties_by_index(data: st.DataObject, k: int, offset: int) -> None:
    size, count, width = (data.draw(st.integers(1, n)) for n in (40, 20, 3))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    bank = torch.randint(-2, 3, (size, width), generator=generator) + float(offset)
    queries = torch.randint(-2, 3, (count, width), generator=generator) + float(offset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "TILE", data.draw(st.sampled_from([1, 7, 2048])))
        distances, indices = Neighbours(bank).search(queries, k)
    expected, expected_indices = brute_force(queries, bank, k)
    torch.testing.assert_close(distances.double(), expected, rtol=0, atol=0)
    torch.testing.assert_close(indices, expected_indices, rtol=0, atol=0)


def test_small_distances_between_large_vectors_are_exact() -> None:
    # |q|^2 - 2qb + |b|^2 has an error near 10 here, whatever the shift: two far clusters.
    clusters = torch.tensor([-1000.0, 1000.0])[torch.arange(400) % 2, None]
    bank = clusters + 1e-2 * random(400, 32)
    queries = bank[:50] + 1e-3 * random(50, 32, seed=1)
    distances, indices = Neighbours(bank).search(queries, 3)
    expected, expected_indices = brute_force(queries, bank, 3)
    torch.testing.assert_close(indices, expected_indices)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-5, atol=0)


def test_more_duplicates_than_spare_candidates() -> None:
    bank = torch.cat([random(30, 8), random(1, 8, seed=1).expand(60, 8), random(30, 8, seed=2)])
    distances, indices = Neighbours(bank).search(bank[80:81], 4)
    assert indices.tolist() == [[30, 31, 32, 33]]
    assert distances.tolist() == [[0.0] * 4]


@pytest.mark.parametrize(("size", "width", "k"), [(1, 5, 1), (1, 5, 4), (6, 1, 6), (6, 1, 50)])
def test_k_is_limited_to_the_bank(size: int, width: int, k: int) -> None:
    queries, bank = random(4, width), random(size, width, seed=1)
    distances, indices = Neighbours(bank).search(queries, k)
    expected, expected_indices = brute_force(queries, bank, k)
    torch.testing.assert_close(distances.double(), expected)
    torch.testing.assert_close(indices, expected_indices)


def test_no_queries() -> None:
    distances, indices = Neighbours(random(5, 3)).search(torch.empty(0, 3), 2)
    assert distances.shape == indices.shape == (0, 2)


def test_refuses_an_empty_bank_and_k_below_1() -> None:
    with pytest.raises(ValueError, match="M > 0"):
        Neighbours(torch.empty(0, 3))
    with pytest.raises(ValueError, match="at least 1"):
        Neighbours(random(5, 3)).search(random(2, 3), 0)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("tied", [False, True])
def test_no_intermediate_grows_with_the_bank(tied: bool) -> None:
    class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
        numel = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.detach.default:  # the same memory, for numpy
                return out
            for tensor in out if isinstance(out, tuple | list) else [out]:
                # A view occupies no memory of its own.
                if isinstance(tensor, torch.Tensor) and not tensor._is_view():
                    self.numel = max(self.numel, tensor.numel())
            return out

    queries, bank = random(50, 4), random(1000, 4, seed=1)
    if tied:
        bank[100:140] = bank[100]
        queries[10:20] = bank[100]
    search = Neighbours(bank)
    with neighbours.counted(), Largest() as largest:  # type: ignore[no-untyped-call]
        search.search(queries, 2)
    pool_and_tile = 8 * 8 * (2 + neighbours.SPARE) + 7
    assert largest.numel <= (pool_and_tile if tied else max(7 * (7 + 4), 50 * 2))


@pytest.mark.parametrize("by", ["faiss", "torch"])
def test_a_bank_is_held_once(by: str) -> None:
    queries, bank = random(200, 256), random(150_000, 256, seed=1)
    with neighbours.counted() if by == "torch" else nullcontext():
        Neighbours(bank[:9000]).search(queries)  # what libraries keep for themselves
        with cost.Memory(bank.device).watch() as peak:
            Neighbours(bank).search(queries, 9)
    tile, coordinates = neighbours.TILE, bounds.WIDTH * len(bank)
    floats = coordinates + 4 * tile * (tile + 2 * 256)
    assert peak() < floats * 4 / 2**20 + 10 < bank.nbytes / 2**20


def test_the_flop_counter_sees_two_flops_an_element_of_the_bank() -> None:
    queries, bank = random(100, 16), random(3000, 16, seed=1)
    search = Neighbours(bank)
    with neighbours.counted(), FlopCounterMode(display=False) as flops:
        search.search(queries, 3)
    assert flops.get_total_flops() == 2 * 100 * 3000 * 16


class TestMemo:
    @pytest.fixture
    def searches(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The k of each search that is really done."""
        done: list[int] = []
        real = Neighbours._search

        def search(self: Neighbours, queries: torch.Tensor, k: int, pool: int) -> Any:
            done.append(k)
            return real(self, queries, k, pool)

        monkeypatch.setattr(Neighbours, "_search", search)
        return done

    def test_same_queries_are_searched_once(self, searches: list[int]) -> None:
        queries, bank = Neighbours(random(50, 4)), random(2, 3, 5, 4, seed=1)
        distances, indices = queries.search(bank.flatten(0, 2), 5)
        fewer, fewer_indices = queries.search(bank.flatten(0, 2), 2)  # another view of it
        assert searches == [5]
        torch.testing.assert_close(fewer, distances[:, :2])
        torch.testing.assert_close(fewer_indices, indices[:, :2])

    def test_larger_k_is_searched(self, searches: list[int]) -> None:
        search, queries = Neighbours(random(50, 4)), random(6, 4, seed=1)
        search.search(queries, 2)
        assert search.search(queries, 3)[0].shape == (6, 3)
        assert searches == [2, 3]

    def test_clone_and_part_are_searched(self, searches: list[int]) -> None:
        search, queries = Neighbours(random(50, 4)), random(6, 4, seed=1)
        search.search(queries, 2)
        search.search(queries.clone(), 2)
        assert search.search(queries[:3], 2)[0].shape == (3, 2)
        assert searches == [2, 2, 2]

    def test_modified_queries_are_searched(self) -> None:
        search, queries = Neighbours(random(50, 4)), random(6, 4, seed=1)
        view = queries[:]
        search.search(queries)
        view[0] = search.bank[17]
        distances, indices = search.search(queries)
        assert (distances[0, 0].item(), indices[0, 0].item()) == (0, 17)

    def test_modified_inference_queries_are_searched(self) -> None:
        search = Neighbours(random(50, 4))
        with torch.inference_mode():
            queries = random(6, 4, seed=1)
            search.search(queries)
            queries[0] = search.bank[17]
            assert search.search(queries)[1][0, 0] == 17

    def test_modified_result_does_not_come_back(self) -> None:
        search, queries = Neighbours(random(50, 4)), random(6, 4, seed=1)
        for _ in range(2):
            distances, _ = search.search(queries)
            distances.fill_(-1)
        assert (search.search(queries)[0] >= 0).all()

    def test_freed_queries_are_not_mistaken_for_new_ones(self) -> None:
        search, bank = Neighbours(random(50, 4)), random(50, 4)
        for row in range(50):  # the allocator hands out the same address again
            queries = bank[row : row + 1].clone()
            assert search.search(queries)[1].item() == row
            del queries


class TestNeighboursOfBank:
    def test_are_the_nearest_with_the_member_first(self) -> None:
        bank = random(60, 5)
        members = torch.tensor([7, 3, 7, 59])
        indices = Neighbours(bank).neighbours_of_bank(members, 4)
        assert indices[:, 0].tolist() == members.tolist()
        torch.testing.assert_close(indices, brute_force(bank[members], bank, 4)[1])

    def test_put_a_duplicate_of_lower_index_first(self) -> None:
        bank = random(60, 5)
        bank[40] = bank[20]
        assert Neighbours(bank).neighbours_of_bank(torch.tensor([40]), 2).tolist() == [[20, 40]]

    def test_leave_the_remembered_search_alone(self) -> None:
        search, queries = Neighbours(random(60, 5)), random(8, 5, seed=1)
        _, before = search.search(queries, 3)
        search.neighbours_of_bank(before[:, 0], 5)
        torch.testing.assert_close(search.search(queries, 3)[1], before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_the_gpu() -> None:
    queries, bank = random(300, 24), random(5000, 24, seed=1)
    expected, expected_indices = Neighbours(bank).search(queries, 9)
    distances, indices = Neighbours(bank.cuda()).search(queries.cuda(), 9)
    torch.testing.assert_close(distances.cpu(), expected)
    torch.testing.assert_close(indices.cpu(), expected_indices)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_a_graph_finds_the_same(k):
    draw = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(30, 7, generator=draw), torch.randn(50, 7, generator=draw)
    distances, indices = Neighbours(bank).search(queries, k)

    class Search(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.found = [Neighbours(bank)]

        def forward(self, queries, members):
            return *self.found[0].search(queries, k), self.found[0].neighbours_of_bank(members, k)

    members = torch.tensor([3, 3, 9])
    program = torch.export.export(Search(), (queries, members), strict=False).module()
    found, where, around = program(queries, members)
    torch.testing.assert_close(found, distances)
    assert torch.equal(where, indices)
    assert torch.equal(around, Neighbours(bank).neighbours_of_bank(members, k))
