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
from numpy.typing import NDArray
from torch import Tensor

WIDTH = 64
"""Numbers that represent a vector: 62 coordinates and the norms of what two bounds leave out."""
FIRST = 16
"""Coordinates of the first bound, which one matrix product computes for all pairs of a tile."""
GROUP = 16
"""Pairs of a tile that are ruled out together; a multiple of it is a tile's width."""
TILE = 1024
"""Queries and bank vectors of a tile, so that its bounds stay in the cache."""
SAMPLE = 2048
"""Bank vectors from which the directions are computed."""
TRIAL = 32
"""Queries that tell whether the bounds rule out enough."""
ENOUGH = 1 / 16
"""Share of vectors that may be measured: a product of all pairs is as fast beyond it."""
UNIT_ROUNDOFF = 2.0**-24

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


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
        self._coordinates = bank.new_empty(len(bank), WIDTH)
        for start in range(0, len(bank), TILE):
            tile = slice(start, start + TILE)
            self._coordinates[tile] = self._project(bank[tile] - mean)
        first = self._coordinates[:, : FIRST + 1]
        self._squares = first.square().sum(1)
        self._largest = self._squares.max().sqrt()

    @staticmethod
    def suit(bank: Tensor) -> bool:
        """Whether a bank is on the CPU and large enough for bounds."""
        size, width = bank.shape
        if bank.device.type != "cpu" or bank.dtype != torch.float32:
            return False
        return size >= WIDTH and width >= 2 * WIDTH

    def pay(self, queries: Tensor) -> bool:
        """Whether the bounds rule out enough vectors of the bank for queries like these."""
        few, size = queries[:: -(-len(queries) // TRIAL)], min(TILE, len(self._bank))
        return self._search(few, 1, size)[1] <= ENOUGH * len(few) * size

    def search(self, queries: Tensor, k: int) -> Tensor:
        """Bank indices [Q, k] of the k nearest; of equally near ones, those of lower index."""
        return torch.cat(
            [self._search(part, k, len(self._bank))[0] for part in torch.split(queries, TILE)]
        )

    def _search(self, queries: Tensor, k: int, size: int) -> tuple[Tensor, int]:
        """The same among the first ``size`` vectors, and how many distances were computed."""
        centred = queries - self._mean
        ours = self._project(centred)
        first = ours[:, : FIRST + 1].contiguous()
        # Each of the WIDTH coordinates errs by less than (D + 4) u |q|, twice for the basis itself.
        norms = centred.norm(dim=1) + self._largest
        error = (queries.shape[1] + 4) * UNIT_ROUNDOFF
        state = (
            queries.contiguous().numpy(),
            ours.numpy(),
            first.square().sum(1).numpy(),
            (2 * WIDTH**0.5 * error * norms).numpy(),
            (2 * error * norms.square()).numpy(),
            np.full((len(queries), k), np.inf, np.float32),
            np.zeros((len(queries), k), np.int64),
        )
        product = queries.new_empty(len(queries) * TILE)
        measured = 0
        with _threads(len(queries)) as run:
            for start in range(0, size, TILE):
                tile = slice(start, min(start + TILE, size))
                coordinates = self._coordinates[tile]
                bounds = product[: len(queries) * len(coordinates)].view(len(queries), -1)
                torch.addmm(
                    self._squares[tile], first, coordinates[:, : FIRST + 1].T, alpha=-2, out=bounds
                )
                arrays = bounds.numpy(), coordinates.numpy(), self._bank[tile].numpy(), start
                measured += run(partial(_scan, arrays, state))
        return torch.from_numpy(state[-1]), measured

    def _project(self, centred: Tensor) -> Tensor:
        """WIDTH coordinates: the first ones, the norm of all others, more, the norm of the rest."""
        along = centred @ self._basis
        beyond = (centred - along @ self._basis.T).norm(dim=1, keepdim=True)
        first, more = along[:, :FIRST], along[:, FIRST:]
        rest = torch.cat([more, beyond], 1).norm(dim=1, keepdim=True)
        return torch.cat([first, rest, more, beyond], 1)


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
def _scan(tile: Any, state: Any, start: Any, stop: Any) -> int:
    """Update the nearest of the queries from ``start`` to ``stop``; how many were measured."""
    bounds, ours, bank, offset = tile
    queries, coordinates, squares, slack, error, best, found = state
    groups = bounds.shape[1] // GROUP
    lowest = np.empty(groups, np.float32)
    last = best.shape[1] - 1
    measured = 0
    for i in range(start, stop):
        row, query, coordinate = bounds[i], queries[i], coordinates[i]
        limit = (np.sqrt(best[i, last]) + slack[i]) ** 2 + error[i]
        shown = limit - squares[i]
        for group in range(groups):
            low = row[group]
            for part in range(1, GROUP):
                low = min(low, row[part * groups + group])
            lowest[group] = low
        for group in range(groups + 1):
            if group < groups:
                if lowest[group] > shown:
                    continue
                first, end, step = group, groups * GROUP, groups
            else:  # the rest, which fills no group
                first, end, step = groups * GROUP, bounds.shape[1], 1
            for j in range(first, end, step):
                if row[j] > shown or _apart(coordinate, ours[j]) > limit:
                    continue
                measured += 1
                distance = _distance(query, bank[j])
                if _before(distance, offset + j, best[i, last], found[i, last]):
                    slot = last
                    while slot > 0 and _before(
                        distance, offset + j, best[i, slot - 1], found[i, slot - 1]
                    ):
                        best[i, slot] = best[i, slot - 1]
                        found[i, slot] = found[i, slot - 1]
                        slot -= 1
                    best[i, slot] = distance
                    found[i, slot] = offset + j
                    limit = (np.sqrt(best[i, last]) + slack[i]) ** 2 + error[i]
                    shown = limit - squares[i]
    return measured


@njit(nogil=True, cache=True, inline="always")
def _before(distance: Any, index: Any, other: Any, its: Any) -> Any:
    return distance < other or (distance == other and index < its)


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _apart(one: Any, other: Any) -> Any:
    """The second bound: all coordinates but the norm that the first one needs."""
    total = np.float32(0)
    for x in range(WIDTH):
        total += (one[x] - other[x]) ** 2
    return total - (one[FIRST] - other[FIRST]) ** 2


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _distance(one: Any, other: Any) -> Any:
    total = np.float32(0)
    for x in range(len(one)):
        total += (one[x] - other[x]) ** 2
    return total
