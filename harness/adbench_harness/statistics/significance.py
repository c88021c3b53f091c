"""Tests whether methods differ across categories, corrected for the number of comparisons."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.05
"""The accepted probability of any false positive among all comparisons of a table."""
EXACT = 13
"""Up to this number of blocks, all 2^B sign patterns are counted, including ties and zeros."""


def needed(methods: int) -> int:
    """The number of blocks that ``wilcoxon`` and ``holm`` need to find any difference.

    All B signs agree by chance in 2 of 2^B cases, and this can happen to every pair of methods.
    """
    pairs = methods * (methods - 1) / 2
    return 1 + math.floor(math.log2(max(pairs, 1) / LEVEL)) + 1


def friedman(values: Array) -> float:
    """p-value that the K methods do not differ over blocks [K, B] (Friedman, JASA 1937).

    Iman and Davenport's F (Communications in Statistics 1980), less conservative than the chi
    square, as Demsar recommends (JMLR 2006). nan for fewer than three methods or two blocks.
    """
    from scipy import stats

    methods, blocks = values.shape
    if methods < 3 or blocks < 2:
        return math.nan
    mean = stats.rankdata(values, axis=0).mean(axis=1)
    spread = float(np.sum((mean - (methods + 1) / 2) ** 2))
    chi = 12 * blocks / (methods * (methods + 1)) * spread
    free = methods - 1
    if chi >= blocks * free:  # every block has the same order
        return 0.0
    return float(stats.f.sf((blocks - 1) * chi / (blocks * free - chi), free, free * (blocks - 1)))


def wilcoxon(values: Array) -> Array:
    """Two-sided p-values [K, K] of signed-rank tests between methods over blocks [K, B].

    Benavoli et al. (JMLR 2016) recommend them instead of tests on mean ranks, whose outcome depends
    on which other methods are compared. Blocks are categories; seeds are averaged before. Equal
    values are ranked, but count for neither side (Pratt, JASA 1959). nan on the diagonal and for
    methods that are equal everywhere.
    """
    from scipy import stats

    methods, blocks = values.shape
    p = np.full((methods, methods), math.nan)
    first, second = np.triu_indices(methods, 1)
    differences = values[first] - values[second]
    unequal = np.any(differences != 0, axis=1)
    first, second, differences = first[unequal], second[unequal], differences[unequal]
    if not len(differences):
        return p
    if blocks > EXACT:
        found = stats.wilcoxon(differences, axis=1, zero_method="pratt").pvalue
    else:
        ranked = stats.rankdata(np.abs(differences), axis=1) * (differences != 0)
        signs = np.array(list(itertools.product([-1, 1], repeat=blocks)))
        seen = np.abs(np.sum(ranked * np.sign(differences), axis=1))
        found = np.mean(np.abs(signs @ ranked.T) >= seen - 1e-9, axis=0)
    p[first, second] = p[second, first] = found
    return p


def holm(p: Array) -> Array:
    """p-values [K, K] of all pairs, adjusted for their number (Holm, Scand. J. Stat. 1979).

    A pair that could not be decided (nan) stays nan, but is included in their number.
    """
    first, second = np.triu_indices(len(p), 1)
    found = p[first, second]
    order = np.argsort(found)  # nan last
    factors = len(found) - np.arange(len(found))
    adjusted = np.minimum(np.maximum.accumulate(found[order] * factors), 1)
    result = np.full_like(p, math.nan)
    result[first[order], second[order]] = result[second[order], first[order]] = adjusted
    return result


def ranks(values: Array, p: Array, level: float = LEVEL) -> NDArray[np.int64]:
    """Rank [K], from 1: the number of better methods, plus one.

    ``values`` [K], the higher the better; ``p`` [K, K] adjusted. A method is better if the
    difference is significant; if the test cannot decide (nan), a method is better if its value is
    higher in the three decimals that a table shows.
    """
    shown = np.round(values, 3)
    better = (p < level) & (values[:, None] < values)
    better |= np.isnan(p) & (shown[:, None] < shown)
    result: NDArray[np.int64] = 1 + better.sum(axis=1)
    return result


def cliques(order: NDArray[Any], p: Array, level: float = LEVEL) -> list[tuple[int, int]]:
    """Runs (first, last) of methods in ``order`` [K] of which no two differ significantly.

    They are the bars of a critical-difference diagram: the longest runs, none inside another.
    """
    runs: list[tuple[int, int]] = []
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and not np.any(
            p[order[start : end + 1], order[end + 1]] < level
        ):
            end += 1
        if end > start and (not runs or end > runs[-1][1]):
            runs.append((start, end))
    return runs
