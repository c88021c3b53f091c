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

TILE = 2048
"""Queries and bank vectors compared at once; faiss or a GPU takes four times as many vectors."""
SPARE = 4
"""Candidates beyond the requested k, so that one search is enough for nearly every query."""
UNIT_ROUNDOFF = 2.0**-24

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

    Matrix products rank the candidates, and the candidates' distances are then computed directly
    as ``sum((q - b)**2)``: the expansion ``|q|^2 - 2qb + |b|^2`` is inaccurate for small distances.
    If rounding errors could have changed a query's ranking, it is searched again with more
    candidates. Therefore faiss, which ranks large banks faster on a CPU, and torch, which needs no
    other package and whose FLOPs can be counted, give the same result. Matrix products must have
    full float32 precision, which is torch's default.

    A search needs memory for about ``4 * TILE * (TILE + 2 * D)`` floats in addition to its result
    (three times as much if very many vectors tie). The bank's mean is subtracted from the vectors
    one tile at a time: rounding errors grow with norms, and a shift changes no distance.

    Scorers that share one model output search for the same queries, so the last result is kept. It
    is used again for the same unmodified memory, through any view, with the same or a smaller k.
    Clone the queries to force a search.
    """

    def __init__(self, bank: Tensor) -> None:
        if bank.ndim != 2 or len(bank) == 0:
            raise ValueError(
                f"a memory bank must have shape [M, D] with M > 0, not {list(bank.shape)}"
            )
        self.bank = bank
        self._mean = bank.mean(0)
        self._squares = bank.new_empty(len(bank))
        for tile, squares in self._tiles(TILE):
            squares.copy_(tile.square_().sum(1))
        # Measured: up to a quarter faster than torch on a CPU.
        self._by_faiss = bank.device.type == "cpu" and _faiss() is not None
        self._last: tuple[weakref.ref[UntypedStorage], _Layout, Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.bank)

    def search(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Squared distances [Q, k] (float32, ascending) and bank indices [Q, k] (int64).

        Equal distances are ordered by index. All M vectors are returned if k exceeds M.
        """
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
        k = self._checked(k)
        unique, inverse = torch.unique(members, return_inverse=True)
        return self._search(self.bank[unique], k, k + SPARE)[1][inverse]

    def _checked(self, k: int) -> int:
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        return min(k, len(self.bank))

    def _search(self, queries: Tensor, k: int, pool: int) -> tuple[Tensor, Tensor]:
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
        approximate, candidates = self._candidates(centred, pool)
        # Sorted by index first: the stable sort by distance then keeps ties in the bank's order.
        by_index = candidates.sort(dim=1).values
        distances, order = self._distances(queries, by_index).sort(dim=1, stable=True)
        distances = distances[:, :k]
        indices = by_index.gather(1, order[:, :k])
        if pool < len(self.bank):
            # |q|^2 - 2qb + |b|^2 of length-D vectors errs by less than (D + 4) u (|q| + |b|)^2, in
            # any order of summation: vectors outside the pool must be farther by twice that.
            norms = centred.norm(dim=1) + self._squares.max().sqrt()
            error = (queries.shape[1] + 4) * UNIT_ROUNDOFF * norms.square()
            unsettled = (approximate[:, -1] <= approximate[:, k - 1] + 2 * error).nonzero()[:, 0]
            if len(unsettled):
                again = self._search(queries[unsettled], k, 8 * pool)
                distances[unsettled], indices[unsettled] = again
        return distances, indices

    def _candidates(self, centred: Tensor, pool: int) -> tuple[Tensor, Tensor]:
        """The ``pool`` nearest by approximate squared distance (less |q|^2), and their indices."""
        by_faiss = self._by_faiss and not _counting.get()
        columns = 4 * TILE if by_faiss or self.bank.is_cuda else TILE
        values = centred.new_empty(len(centred), 0)
        indices = torch.empty_like(values, dtype=torch.int64)
        start = 0
        for tile, squares in self._tiles(columns):
            few = min(pool, len(tile))
            if by_faiss:
                found = _faiss().knn(centred.numpy(), tile.numpy(), few)
                nearest, where = map(torch.from_numpy, found)
            else:
                scores = torch.addmm(squares, centred, tile.T, alpha=-2)
                nearest, where = scores.topk(few, largest=False, sorted=False)
            values = torch.cat([values, nearest], 1)
            indices = torch.cat([indices, where + start], 1)
            values, order = values.topk(min(pool, values.shape[1]), largest=False)
            indices = indices.gather(1, order)
            start += len(tile)
        if by_faiss:  # which adds |q|^2
            values -= centred.square().sum(1, keepdim=True)
        return values, indices

    def _tiles(self, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The centred bank, ``columns`` vectors at a time, and the squares of their norms."""
        for start in range(0, len(self.bank), columns):
            part = slice(start, start + columns)
            yield self.bank[part] - self._mean, self._squares[part]

    def _distances(self, queries: Tensor, indices: Tensor) -> Tensor:
        # As many vectors at a time as fit in a CPU's cache; a GPU needs few, large steps.
        rows = TILE if self.bank.is_cuda else max(1, TILE // 32)
        parts = zip(torch.split(queries, rows), torch.split(indices, rows), strict=True)
        return torch.cat([self._few_distances(*part) for part in parts])

    def _few_distances(self, queries: Tensor, indices: Tensor) -> Tensor:
        distances = []
        for columns in torch.split(indices, max(1, TILE // len(queries)), dim=1):
            vectors = self.bank.index_select(0, columns.flatten()).view(*columns.shape, -1)
            distances.append(vectors.sub_(queries[:, None]).square_().sum(2))
        return torch.cat(distances, 1)


def _layout(tensor: Tensor) -> _Layout:
    """A tensor's offset, shape and strides in its storage, and its count of modifications."""
    return int(tensor.storage_offset()), tensor.shape, tensor.stride(), tensor._version
