"""Greedy k-centre coreset: the few embeddings that cover all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

Ratio = Annotated[
    float, Field(gt=0, le=1, description="share of the training patches that is kept")
]

POOL = 4096
"""Farthest points among which picks are made between two updates of all distances."""
BLOCK = 1024
"""Points whose distances are updated at once."""
UNIT_ROUNDOFF = 2.0**-24


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
    projection to ``projection`` dimensions (None, or no fewer than D: unprojected). The features
    are float32 on any device, ``generator`` is on the CPU, and ``progress`` is called with (picks
    made, count). Needs memory for the projected features and some 40 MB. A count of N or more takes
    every point; one below 1 raises ValueError.

    Distances only ever decrease. So it is enough to look at the points that were farthest at some
    time for as long as one of them is farther away than all others were then; after that, one
    matrix product brings all distances up to date with all these picks. Picks are decided in
    float64: only points whose squared distances differ by no more than the float32 rounding of
    squared norms may change places.
    """
    if count < 1:
        raise ValueError(f"a coreset has at least 1 point, not {count}")
    total = len(features)
    if count >= total:
        return torch.arange(total, device=features.device)
    start = torch.randint(total, (1,), generator=generator).to(features.device)
    points = _project(features, projection, generator)
    centre = points.mean(0)  # rounding errors grow with the norms, and a shift moves no distance
    norm = max(float((block - centre).norm(dim=1).max()) for block in torch.split(points, BLOCK))
    error = (points.shape[1] + 4) * UNIT_ROUNDOFF * (2 * norm) ** 2

    picks = start
    distances = torch.full((total,), torch.inf, device=points.device)
    nearest = start.repeat(total)
    _update(distances, nearest, points, centre, picks)
    while len(picks) < count:
        farthest, pool = distances.topk(min(POOL, total))
        pool = pool.sort().values  # ties go to the lowest index
        members = points[pool].double() - centre
        exact = (members + centre - points[nearest[pool]]).square().sum(1)
        exact[distances[pool].isneginf()] = -torch.inf
        chosen = _pick(members, exact, count - len(picks), float(farthest[-1]) + error)
        _update(distances, nearest, points, centre, pool[chosen])
        picks = torch.cat([picks, pool[chosen]])
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


def _pick(members: Tensor, distances: Tensor, count: int, outside: float) -> list[int]:
    """Greedy picks among pool members while farther than ``outside``: at least 1, at most count."""
    squares = members.square().sum(1)
    picks: list[int] = []
    while len(picks) < count:
        distance, position = distances.max(0)
        if picks and float(distance) <= outside:
            break
        pick = int(position)
        picks.append(pick)
        to_pick = squares + squares[pick] - 2 * (members @ members[pick])
        distances = torch.minimum(distances, to_pick)
        distances[pick] = -torch.inf
    return picks


def _update(
    distances: Tensor, nearest: Tensor, points: Tensor, centre: Tensor, picks: Tensor
) -> None:
    """Take ``picks`` into the squared distance to, and the index of, each point's nearest pick.

    The distance of the picks themselves becomes minus infinity: nothing is picked twice.
    """
    chosen = points[picks] - centre
    squares = chosen.square().sum(1)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        block = points[part] - centre
        found = torch.addmm(squares, block, chosen.T, alpha=-2).min(1)
        candidates = found.values + block.square().sum(1)
        closer = candidates < distances[part]
        distances[part] = torch.where(closer, candidates, distances[part])
        nearest[part] = torch.where(closer, picks[found.indices], nearest[part])
    distances[picks] = -torch.inf
