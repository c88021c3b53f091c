"""Lower bounds on distances: most vectors of a memory bank need not be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

WIDTH = 64
"""Numbers that represent a vector: 62 coordinates and the norms of what two bounds leave out."""
FIRST = 16
"""Coordinates of the first bound, which is computed for all pairs."""
BLOCK = 256
"""Bank vectors whose first bounds a query gets at once, so that they stay in the nearest cache."""
GROUP = 16
"""Vectors of a block that are ruled out together."""
GROUPS = BLOCK // GROUP
ROWS = 1024
"""Vectors that are projected at once."""
SAMPLE = 2048
"""Bank vectors from which the directions are computed."""
TRIAL = 32
"""Queries that tell whether the bounds rule out enough."""
TRIED = 1024
"""Bank vectors among which they tell it."""
ENOUGH = 1 / 16
"""Share of vectors that may be measured: a product of all pairs is as fast beyond it."""
UNIT_ROUNDOFF = 2.0**-24


class Bounds:
    """Lower bounds on the squared distances to a bank [M, D] (float32, on the CPU).

    In an orthonormal basis let q' and b' be some coordinates of a query and of a bank vector, and
    q'' and b'' all others. Then ``|q - b|^2 >= |q' - b'|^2 + (|q''| - |b''|)^2``. The bank's
    principal directions come first in the basis, so a few coordinates hold most of the distance.
    Vectors whose bound exceeds the k-th smallest distance so far cannot be among the k nearest, so
    the search is exact. The bounds allow for all rounding errors.
    """

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank.contiguous()
        self._mean = mean = bank.mean(0)
        self._basis = _basis(bank, mean)
        blocks = -(-len(bank) // BLOCK)
        # Of each block the terms of |q - b|^2 - |q|^2: -2 b by coordinate, then |b|^2.
        self._first = bank.new_zeros(blocks, FIRST + 2, BLOCK)
        self._first[:, -1] = torch.inf  # where the last block has no vector
        self._more = bank.new_empty(len(bank), WIDTH - FIRST)
        for number, rows in enumerate(torch.split(bank, BLOCK)):
            first, self._more[number * BLOCK :][: len(rows)] = self._project(rows)
            self._first[number, :-1, : len(rows)] = -2 * first.T
            self._first[number, -1, : len(rows)] = first.square().sum(1)
        squares = self._first[:, -1]
        self._largest = squares[squares.isfinite()].max().sqrt()

    @staticmethod
    def suit(bank: Tensor) -> bool:
        """Whether a bank is on the CPU and large enough for bounds."""
        size, width = bank.shape
        if bank.device.type != "cpu" or bank.dtype != torch.float32:
            return False
        return size >= WIDTH and width >= 2 * WIDTH

    def pay(self, queries: Tensor) -> bool:
        """Whether the bounds rule out enough vectors of the bank for queries like these."""
        few, size = queries[:: -(-len(queries) // TRIAL)], min(TRIED, len(self._bank))
        return self._search(few, 1, size)[1] <= ENOUGH * len(few) * size

    def search(self, queries: Tensor, k: int) -> Tensor:
        """Bank indices [Q, k] of the k nearest; of equally near ones, those of lower index."""
        return self._search(queries, k, len(self._bank))[0]

    def _search(self, queries: Tensor, k: int, size: int) -> tuple[Tensor, int]:
        """The same among the first ``size`` vectors, and how many distances were computed."""
        parts = map(self._project, torch.split(queries, ROWS))
        first, more = map(torch.cat, zip(*parts, strict=True))
        # Each of the WIDTH coordinates errs by less than (D + 4) u |q|, twice for the basis itself.
        squares = first.square().sum(1)
        norms = squares.sqrt() + self._largest
        error = (queries.shape[1] + 4) * UNIT_ROUNDOFF
        bank = self._first.numpy(), self._more.numpy(), self._bank[:size].numpy()
        ours = first.numpy(), more.numpy(), queries.contiguous().numpy()
        allowed = (
            squares.numpy(),
            (2 * WIDTH**0.5 * error * norms).numpy(),
            (2 * error * norms.square()).numpy(),
        )
        best = np.full((len(queries), k), np.inf, np.float32)
        found = np.zeros((len(queries), k), np.int64)
        with _threads(len(queries)) as run:
            measured = run(partial(_scan, bank, ours, allowed, (best, found)))
        return torch.from_numpy(found), measured

    def _project(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """FIRST coordinates and the norm of all others; this norm, more, the norm of the rest."""
        centred = vectors - self._mean
        along = centred @ self._basis
        beyond = (centred - along @ self._basis.T).norm(dim=1, keepdim=True)
        first, more = along[:, :FIRST], along[:, FIRST:]
        others = torch.cat([more, beyond], 1).norm(dim=1, keepdim=True)
        return torch.cat([first, others], 1), torch.cat([others, more, beyond], 1)


def squared_distances(queries: Tensor, bank: Tensor, indices: Tensor) -> Tensor:
    """Squared distances [Q, n] of queries to the bank vectors ``indices`` [Q, n], on the CPU."""
    distances = queries.new_empty(indices.shape)
    arrays = [tensor.numpy() for tensor in (queries, bank, indices, distances)]
    with _threads(len(queries)) as run:
        run(partial(_measure, *arrays))
    return distances


@contextmanager
def _threads(count: int) -> Iterator[Callable[[Callable[[int, int], int]], int]]:
    """Runs ``work(start, stop)`` on parts of ``count``, in torch's number of threads; their sum."""
    threads = max(1, min(torch.get_num_threads(), count))
    cuts = [count * i // threads for i in range(threads + 1)]
    if threads == 1:
        yield lambda work: work(0, count)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield lambda work: sum(pool.map(work, cuts[:-1], cuts[1:]))


def _basis(bank: Tensor, mean: Tensor) -> Tensor:
    """Orthonormal directions [D, WIDTH - 2] near the bank's principal ones, the largest first.

    By subspace iteration: a full decomposition takes longer than many a search.
    """
    sample = (bank[:: -(-len(bank) // SAMPLE)] - mean).double()
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(bank.shape[1], WIDTH - 2, generator=generator, dtype=torch.float64)
    for _ in range(3):
        basis = torch.linalg.qr(sample.T @ (sample @ basis)).Q
    along = sample @ basis
    basis = basis @ torch.linalg.eigh(along.T @ along).eigenvectors.flip(1)
    directions: Tensor = basis.float()
    return directions


# Sums in any order, so that they are fast. Infinity stays what it is: no distance yet.
_FAST = {"reassoc", "contract", "nsz", "nnan"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def _measure(queries: Any, bank: Any, indices: Any, distances: Any, start: Any, stop: Any) -> int:
    for i in range(start, stop):
        for j in range(indices.shape[1]):
            distances[i, j] = _distance(queries[i], bank[indices[i, j]])
    return 0


@njit(nogil=True, cache=True, fastmath=_FAST)
def _scan(bank: Any, ours: Any, allowed: Any, nearest: Any, start: Any, stop: Any) -> int:
    """Find the nearest of the queries from ``start`` to ``stop``; how many were measured."""
    terms, its, vectors = bank
    first, more, queries = ours
    squares, slack, error = allowed
    best, found = nearest
    k = best.shape[1]
    bounds = np.empty(BLOCK, np.float32)
    lowest = np.empty(GROUPS, np.float32)
    query = np.empty(FIRST + 1, np.float32)  # a copy, which nothing that is written can overlap
    candidates = np.empty(BLOCK + k, np.int64)
    measured = 0
    for block in range(-(-len(vectors) // BLOCK)):
        term = terms[block]
        for i in range(start, stop):
            for x in range(FIRST + 1):
                query[x] = first[i, x]
            for j in range(BLOCK):
                total = term[FIRST + 1, j]
                for x in range(FIRST + 1):
                    total += query[x] * term[x, j]
                bounds[j] = total
            for group in range(GROUPS):
                lowest[group] = bounds[group]
            for part in range(1, GROUP):
                for group in range(GROUPS):
                    lowest[group] = min(lowest[group], bounds[part * GROUPS + group])
            count = 0
            if block == 0 and i > start:  # neighbours of the query before are good to begin with
                for slot in range(k):
                    if best[i - 1, slot] < np.inf:
                        candidates[count] = found[i - 1, slot]
                        count += 1
            known = count
            limit = (np.sqrt(best[i, k - 1]) + slack[i]) ** 2 + error[i]
            for group in range(GROUPS):
                if lowest[group] <= limit - squares[i]:
                    for j in range(group, min(BLOCK, len(vectors) - block * BLOCK), GROUPS):
                        candidates[count] = block * BLOCK + j
                        count += bounds[j] <= limit - squares[i]
            for place in range(count):
                j = candidates[place]
                if place >= known:
                    bound = bounds[j - block * BLOCK] + squares[i]
                    if bound > limit or bound + _gain(more[i], its[j]) > limit:
                        continue
                measured += 1
                distance = _distance(queries[i], vectors[j])
                if _insert(best[i], found[i], distance, j):
                    limit = (np.sqrt(best[i, k - 1]) + slack[i]) ** 2 + error[i]
    return measured


@njit(nogil=True, cache=True, inline="always")
def _insert(best: Any, found: Any, distance: Any, index: Any) -> Any:
    """Whether a vector became one of the nearest so far, which are sorted and hold it once."""
    slot = len(best) - 1
    if not _before(distance, index, best[slot], found[slot]):
        return False
    for other in range(len(best)):
        if found[other] == index and best[other] < np.inf:
            return False
    while slot > 0 and _before(distance, index, best[slot - 1], found[slot - 1]):
        best[slot], found[slot] = best[slot - 1], found[slot - 1]
        slot -= 1
    best[slot], found[slot] = distance, index
    return True


@njit(nogil=True, cache=True, inline="always")
def _before(distance: Any, index: Any, other: Any, its: Any) -> Any:
    return distance < other or (distance == other and index < its)


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _gain(one: Any, other: Any) -> Any:
    """What the second bound adds: more coordinates, less the norms that stood for them."""
    total = np.float32(0)
    for x in range(WIDTH - FIRST):
        total += (one[x] - other[x]) ** 2
    return total - 2 * (one[0] - other[0]) ** 2


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _distance(one: Any, other: Any) -> Any:
    total = np.float32(0)
    for x in range(len(one)):
        total += (one[x] - other[x]) ** 2
    return total
