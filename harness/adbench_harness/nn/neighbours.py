"""Exact nearest neighbours of embeddings in a memory bank."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor, UntypedStorage

from adbench_harness.nn.bounds import UNIT_ROUNDOFF, Bounds, squared_distances

TILE = 2048
"""Queries and bank vectors compared at once; faiss or a GPU takes four times as many vectors."""
SPARE = 4
"""Candidates beyond the requested k, so that one search is enough for nearly every query."""
MOST = 32
"""The largest k for which bounds are used: they keep the nearest in order one by one."""

_counting: ContextVar[bool] = ContextVar("counting", default=False)


@contextmanager
def counted() -> Iterator[None]:
    """Search only with torch's matrix products, whose FLOPs a counter can see."""
    token = _counting.set(True)
    try:
        yield
    finally:
        _counting.reset(token)


@cache
def _faiss() -> Any:
    """faiss, or None if it cannot be imported."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


_Layout = tuple[int, torch.Size, tuple[int, ...], int]


class Neighbours:
    """Exact search in a memory bank [M, D] (float32), on the bank's device.

    On a CPU, lower bounds rule out most vectors of a bank of image features, and the distances of
    the others are computed directly. A bank whose vectors have no such structure, and any bank on
    a GPU, is ranked by matrix products. The candidates' distances are then computed directly as
    ``sum((q - b)**2)``: the expansion ``|q|^2 - 2qb + |b|^2`` is inaccurate for small distances.
    If rounding errors could have changed a query's ranking, it is searched again with more
    candidates. So bounds, faiss's products and torch's, whose FLOPs can be counted, give the same
    result. Full float32 products are assumed, torch's default.

    Products need memory for about ``4 * TILE * (TILE + 2 * D)`` floats besides the result (three
    times as much if very many vectors tie), bounds for 66 floats a vector of the bank. Vectors are
    centred by the bank's mean one tile at a time: rounding errors grow with norms, and a shift
    changes no distance.

    Scorers that share one model output search for the same queries, so the last result is kept. It
    is used again for the same unmodified memory, through any view, with the same or a smaller k.
    Clone the queries to force a search. A bank that was modified in place is prepared again, but
    torch does not count the modifications of a bank that was made in inference mode.
    """

    def __init__(self, bank: Tensor) -> None:
        if bank.ndim != 2 or len(bank) == 0:
            raise ValueError(
                f"a memory bank must have shape [M, D] with M > 0, not {list(bank.shape)}"
            )
        self.bank = bank
        # Measured: up to a quarter faster than torch on a CPU.
        self._by_faiss = bank.device.type == "cpu" and _faiss() is not None
        self._pays = False
        self._prepare()

    def _prepare(self) -> None:
        """Compute what every search needs of the bank; again if the bank was modified."""
        bank = self.bank
        self._version = None if bank.is_inference() else bank._version
        self._mean = bank.mean(0)
        self._squares = bank.new_empty(len(bank))
        for tile, squares in self._tiles(TILE):
            squares.copy_(tile.square_().sum(1))
        if not torch.isfinite(self._squares).all():
            raise ValueError(
                "the memory bank has vectors that are not finite (nan or infinity), or whose "
                "squared norm is not"
            )
        self._bounds: Bounds | None = None
        self._last: tuple[weakref.ref[UntypedStorage], _Layout, Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.bank)

    def search(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Squared distances [Q, k] (float32, ascending) and bank indices [Q, k] (int64).

        Equal distances are ordered by index. All M vectors are returned if k exceeds M.
        """
        if torch.compiler.is_exporting():
            return _in_a_graph(self.bank, queries, min(k, len(self.bank)))
        k = self._checked(k)
        if queries.is_inference():  # torch does not count the modifications of an inference tensor
            return self._search(queries, k, k + SPARE)
        storage, layout = queries.untyped_storage(), _layout(queries)
        if self._last is not None:
            seen, seen_layout, distances, indices = self._last
            if seen() is storage and seen_layout == layout and k <= distances.shape[1]:
                return distances[:, :k].clone(), indices[:, :k].clone()
        distances, indices = self._search(queries, k, k + SPARE)
        self._last = weakref.ref(storage), layout, distances, indices
        return distances.clone(), indices.clone()

    def neighbours_of_bank(self, members: Tensor, k: int) -> Tensor:
        """Bank indices [n, k] of the vectors nearest to the bank vectors ``members`` [n] (int64).

        Like ``search``; a member is one of its own k neighbours, at distance 0 (N_b(m*) of
        PatchCore, Roth et al., CVPR 2022, eq. 7). Duplicates with a lower index come before it.
        """
        if torch.compiler.is_exporting():
            return _in_a_graph(self.bank, self.bank[members], min(k, len(self.bank)))[1]
        k = self._checked(k)
        unique, inverse = torch.unique(members, return_inverse=True)
        return self._search(self.bank[unique], k, k + SPARE)[1][inverse]

    def _checked(self, k: int) -> int:
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if self._version is not None and self._version != self.bank._version:
            self._prepare()
        return min(k, len(self.bank))

    def _search(self, queries: Tensor, k: int, pool: int) -> tuple[Tensor, Tensor]:
        if len(queries) and self._pruned(queries, k):
            assert self._bounds is not None
            return self._ranked(queries, self._bounds.search(queries, k))
        pool = min(pool, len(self.bank))
        distances = queries.new_empty(len(queries), k)
        indices = torch.empty_like(distances, dtype=torch.int64)
        rows = max(1, min(TILE, TILE * TILE // pool))
        for start in range(0, len(queries), rows):
            part = slice(start, start + rows)
            distances[part], indices[part] = self._search_tile(queries[part], k, pool)
        return distances, indices

    def _search_tile(self, queries: Tensor, k: int, pool: int) -> tuple[Tensor, Tensor]:
        centred = queries - self._mean
        squares = centred.square().sum(1)
        approximate, candidates = self._candidates(centred, squares, pool)
        distances, indices = self._ranked(queries, candidates)
        distances, indices = distances[:, :k], indices[:, :k]
        if pool < len(self.bank):
            # |q|^2 - 2qb + |b|^2 of length-D vectors errs by less than (D + 4) u (|q| + |b|)^2, in
            # any order of summation: vectors outside the pool must be farther by twice that.
            norms = squares.sqrt() + self._squares.max().sqrt()
            error = (queries.shape[1] + 4) * UNIT_ROUNDOFF * norms.square()
            unsettled = (approximate[:, -1] <= approximate[:, k - 1] + 2 * error).nonzero()[:, 0]
            if len(unsettled):
                again = self._search(queries[unsettled], k, 8 * pool)
                distances[unsettled], indices[unsettled] = again
        return distances, indices

    def _pruned(self, queries: Tensor, k: int) -> bool:
        """Whether bounds find the nearest faster; the first queries of a bank decide it."""
        if _counting.get() or k > MOST or not Bounds.suit(self.bank):
            return False
        if self._bounds is None:
            self._bounds = Bounds(self.bank)
            self._pays = self._bounds.pay(queries)
        return self._pays

    def _ranked(self, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates' distances, ascending, and indices."""
        # Sorted by index first: the stable sort by distance then keeps ties in the bank's order.
        by_index = candidates.sort(dim=1).values
        distances, order = self._distances(queries, by_index).sort(dim=1, stable=True)
        return distances, by_index.gather(1, order)

    def _candidates(self, centred: Tensor, squares: Tensor, pool: int) -> tuple[Tensor, Tensor]:
        """The ``pool`` nearest by approximate squared distance (less |q|^2), and their indices."""
        by_faiss = self._by_faiss and not _counting.get()
        columns = 4 * TILE if by_faiss or self.bank.is_cuda else TILE
        values = centred.new_empty(len(centred), 0)
        indices = torch.empty_like(values, dtype=torch.int64)
        start = 0
        for tile, its in self._tiles(columns):
            few = min(pool, len(tile))
            if by_faiss:
                found = _faiss().knn(centred.numpy(), tile.numpy(), few)
                nearest, where = map(torch.from_numpy, found)
            else:
                scores = torch.addmm(its, centred, tile.T, alpha=-2)
                nearest, where = scores.topk(few, largest=False, sorted=False)
            values = torch.cat([values, nearest], 1)
            indices = torch.cat([indices, where + start], 1)
            values, order = values.topk(min(pool, values.shape[1]), largest=False)
            indices = indices.gather(1, order)
            start += len(tile)
        if by_faiss:  # which adds |q|^2
            values -= squares[:, None]
        return values, indices

    def _tiles(self, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The centred bank, ``columns`` vectors at a time, and the squares of their norms."""
        for start in range(0, len(self.bank), columns):
            part = slice(start, start + columns)
            yield self.bank[part] - self._mean, self._squares[part]

    def _distances(self, queries: Tensor, indices: Tensor) -> Tensor:
        if not self.bank.is_cuda:
            return squared_distances(queries, self.bank, indices)
        distances = []
        for columns in torch.split(indices, max(1, TILE // len(queries)), dim=1):
            vectors = self.bank.index_select(0, columns.flatten()).view(*columns.shape, -1)
            distances.append(vectors.sub_(queries[:, None]).square_().sum(2))
        return torch.cat(distances, 1)


def _layout(tensor: Tensor) -> _Layout:
    """A tensor's offset, shape and strides in its storage, and its count of modifications."""
    return int(tensor.storage_offset()), tensor.shape, tensor.stride(), tensor._version


def _in_a_graph(bank: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``search`` by operations of an exported graph, which holds all distances at once.

    Candidates are ranked by products, and their distances are then computed directly.
    """
    mean = bank.mean(0)
    centred, others = queries - mean, bank - mean
    products = others.square().sum(1) - 2 * centred @ others.T
    candidates = products.topk(min(k + SPARE, len(bank)), largest=False).indices
    direct = torch.stack(
        [(queries - bank[column]).square().sum(1) for column in candidates.unbind(1)], 1
    )
    distances, order = direct.topk(k, largest=False)
    return distances, candidates.gather(1, order)
