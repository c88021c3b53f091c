"""Greedy k-centre coreset: a small subset of embeddings that covers all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.bounds import UNIT_ROUNDOFF

Ratio = Annotated[float, Field(gt=0, le=1, description="fraction of the training patches to keep")]

POOL = 2048
"""Number of farthest points to pick from between two updates of all distances."""
BLOCK = 1024
"""Maximum number of points whose distances are updated at once; 16 times as many on a GPU."""
CELL = 600
"""On a CPU, points are grouped by their nearest pick once there are this many or fewer per pick."""


def greedy_coreset(
    features: Tensor,
    count: int,
    generator: torch.Generator,
    projection: int | None = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Indices [count] (int64, in picking order) of a greedy k-centre coreset of features [N, D].

    From a random start, each pick is the point farthest from all earlier picks (Sener and Savarese,
    ICLR 2018; PatchCore, Roth et al., CVPR 2022, algorithm 1), measured after a Gaussian random
    projection to ``projection`` dimensions (None, or D or more: no projection). The features are
    float32 on any device, ``generator`` is on the CPU, and ``progress`` is called with (picks
    made, count). This needs memory for the projected features and about 40 MB. A count of N or
    more takes every point; a count below 1 raises ValueError.

    Distances only decrease. It is therefore enough to pick from a pool of the points that were
    farthest at some time, as long as one of them is farther away than all others were at that time.
    After that, matrix products update all distances with these picks, except for groups of points
    that are too far from a pick for it to be the nearest one. Picks are decided in float64: only
    points whose squared distances differ by no more than the float32 rounding of squared norms may
    be picked in another order.
    """
    if count < 1:
        raise ValueError(f"a coreset needs at least 1 point, not {count}")
    total = len(features)
    if count >= total:
        return torch.arange(total, device=features.device)
    start = torch.randint(total, (1,), generator=generator).to(features.device)
    cover = _Cover(_project(features, projection, generator), start)
    picks = start
    while len(picks) < count:
        picks = torch.cat([picks, cover.pick(count - len(picks))])
        if not cover.grouped and len(picks) * CELL >= total and features.device.type == "cpu":
            cover.group()
        if progress is not None:
            progress(len(picks), count)
    return picks


def _project(features: Tensor, projection: int | None, generator: torch.Generator) -> Tensor:
    width = features.shape[1]
    if projection is None or projection >= width:
        return features
    # Johnson and Lindenstrauss: entries of variance 1 / projection keep distances in expectation.
    matrix = torch.randn(width, projection, generator=generator) / math.sqrt(projection)
    return features @ matrix.to(features.device)


class _Cover:
    """The squared distance of every point to its nearest pick, and the index of that pick.

    The distance of the picks themselves is minus infinity, so that no point is picked twice. Points
    are stored in the order ``_order``, in blocks of ``_sizes``; picks are indices of points.
    """

    def __init__(self, points: Tensor, start: Tensor) -> None:
        self.grouped = False
        self._points = points
        self._centre = points.mean(0)  # smaller norms round less; a shift changes no distance
        self._order = torch.arange(len(points), device=points.device)
        self._distances = points.new_full((len(points),), torch.inf)
        self._nearest = start.repeat(len(points))
        size = BLOCK if points.device.type == "cpu" else 16 * BLOCK
        self._cut([len(block) for block in torch.split(self._order, size)])
        self._squares = points.new_empty(len(points))
        for rows, squares in zip(self._parts(self._order), self._parts(self._squares), strict=True):
            squares.copy_(self._centred(rows).square().sum(1))
        self._error = (points.shape[1] + 4) * UNIT_ROUNDOFF * 4 * float(self._squares.max())
        self._add(start)
        self._distances[start] = -torch.inf

    def pick(self, count: int) -> Tensor:
        """The next greedy picks: at least 1, at most ``count``."""
        farthest, pool = self._distances.topk(min(POOL, len(self._order)))
        pool = pool[self._order[pool].argsort()]  # ties go to the lowest index
        # This runs on the CPU, which is as fast as a GPU for many small steps in sequence.
        members = self._points[self._order[pool]].cpu().double()
        distances = (members - self._points[self._nearest[pool]].cpu()).square().sum(1)
        distances[self._distances[pool].cpu().isneginf()] = -torch.inf
        outside = float(farthest[-1]) + self._error
        chosen = pool[_pick(members - self._centre.cpu(), distances, count, outside)]
        self._add(self._order[chosen])
        self._distances[chosen] = -torch.inf
        return self._order[chosen]

    def _add(self, picks: Tensor) -> None:
        """Update the distances with new picks."""
        chosen = self._centred(picks)
        squares = chosen.square().sum(1)
        for near, rows, own, distances, nearest in zip(
            self._near(chosen),
            *map(self._parts, (self._order, self._squares, self._distances, self._nearest)),
            strict=True,
        ):
            if len(near):
                others = chosen.index_select(0, near)
                found = torch.addmm(squares[near], self._centred(rows), others.T, alpha=-2).min(1)
                candidates = found.values + own
                closer = candidates < distances
                distances.copy_(torch.where(closer, candidates, distances))
                nearest.copy_(torch.where(closer, picks[near[found.indices]], nearest))

    def group(self) -> None:
        """Store points with the same nearest pick together, so that most blocks are far apart.

        Only a CPU gains by this: a GPU updates all points in less time than it needs to start the
        work on each block.
        """
        self._nearest, order = self._nearest.sort()
        self._order, self._squares = self._order[order], self._squares[order]
        self._distances = self._distances[order]
        cells = torch.unique_consecutive(self._nearest, return_counts=True)[1].tolist()
        blocks = (torch.split(cell, BLOCK) for cell in torch.split(order, cells))
        self._cut([len(block) for cell in blocks for block in cell])
        self.grouped = True

    def _cut(self, sizes: list[int]) -> None:
        """Cut the points into blocks, and compute the sphere around each block."""
        self._sizes = sizes
        self._middles = self._points.new_empty(len(sizes), self._points.shape[1])
        self._radii = self._points.new_empty(len(sizes))
        for index, rows in enumerate(self._parts(self._order)):
            members = self._centred(rows)
            self._middles[index] = members.mean(0)
            self._radii[index] = (members - self._middles[index]).norm(dim=1).max()

    def _near(self, chosen: Tensor) -> Sequence[Tensor]:
        """For each block, the chosen points that may be the nearest to any of its points."""
        farthest = torch.stack([block.max() for block in self._parts(self._distances)])
        # The triangle inequality, with a margin far larger than the rounding error.
        reach = 1.001 * (self._radii + (farthest.clamp(min=0) + self._error).sqrt())
        near = torch.cdist(self._middles, chosen).square() <= reach[:, None].square() + self._error
        return torch.split(near.nonzero()[:, 1], near.sum(1).tolist())

    def _parts(self, values: Tensor) -> Sequence[Tensor]:
        return torch.split(values, self._sizes)

    def _centred(self, rows: Tensor) -> Tensor:
        return self._points.index_select(0, rows).sub_(self._centre)


def _pick(members: Tensor, distances: Tensor, count: int, outside: float) -> Tensor:
    """Greedy picks among pool members farther than ``outside``: at least 1, at most count."""
    squares = members.square().sum(1)
    remaining = torch.arange(len(members))
    picks: list[int] = []
    while len(picks) < count and len(remaining):
        distance, position = distances.max(0)
        if picks and float(distance) <= outside:
            break
        picks.append(int(remaining[position]))
        to_pick = squares + squares[position] - 2 * (members @ members[position])
        distances = torch.minimum(distances, to_pick)
        distances[position] = -torch.inf
        open_ = distances > outside
        if 2 * int(open_.sum()) < len(open_):  # the others will not be picked
            members, squares = members[open_], squares[open_]
            remaining, distances = remaining[open_], distances[open_]
    return torch.tensor(picks)
