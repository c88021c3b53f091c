"""The uncertainty of an AUROC, and of the difference of two: DeLong's variances.

The variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 1988), from midranks in
O(N log N) as in Sun and Xu (IEEE Signal Processing Letters 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placements:
    """The rank of each anomalous image among the normal ones, and of each normal image vice versa.

    Attributes:
        above: [P], fraction of normal images that score below each anomalous one; a tie is half.
        below: [N], fraction of anomalous images that score above each normal one.
    """

    above: Array
    below: Array

    @classmethod
    def of(cls, scores: NDArray[np.floating[Any]], labels: NDArray[np.bool_]) -> Placements:
        """The placements of scores [P+N], with labels [P+N] true where anomalous."""
        positives, negatives = scores[labels], scores[~labels]
        every = _midranks(np.concatenate([positives, negatives]))
        return cls(
            above=(every[: len(positives)] - _midranks(positives)) / len(negatives),
            below=1 - (every[len(positives) :] - _midranks(negatives)) / len(positives),
        )

    @classmethod
    def mean(cls, repeats: Sequence[Placements]) -> Placements:
        """The averaged placements of a method that was run several times on the same images.

        The AUROC is then the mean of the runs' AUROCs, and each image still counts once.
        """
        return cls(
            above=np.mean([each.above for each in repeats], axis=0),
            below=np.mean([each.below for each in repeats], axis=0),
        )

    @property
    def auroc(self) -> float:
        """The fraction of pairs in the correct order."""
        return float(self.above.mean())

    @property
    def enough(self) -> bool:
        """Whether there are at least two images of each kind, so that there is a variance."""
        return min(len(self.above), len(self.below)) > 1


def _midranks(values: NDArray[np.floating[Any]]) -> Array:
    """The rank of each of the values [N], from 1; equal values share their mean rank.

    It is scipy's ``rankdata``, whose package takes long to load.
    """
    ordered = np.sort(values)
    first, last = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (first + last + 1) / 2


def interval(
    scores: NDArray[np.floating[Any]], labels: NDArray[np.bool_], level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of the AUROC of scores [N], with labels [N] true where anomalous.

    The normal interval around the AUROC is clipped to [0, 1]. Its width is 0 if no pair is in the
    wrong order. Both ends are nan if there are fewer than two positives or negatives.
    """
    if min(np.count_nonzero(labels), np.count_nonzero(~labels)) < 2:
        return math.nan, math.nan
    placements = Placements.of(scores, labels)
    error = math.sqrt(covariance([placements])[0, 0])
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return max(0.0, placements.auroc - reach), min(1.0, placements.auroc + reach)


def covariance(methods: Sequence[Placements]) -> Array:
    """Covariance [K, K] of the AUROCs of K methods on the same images."""
    above = np.stack([each.above for each in methods])
    below = np.stack([each.below for each in methods])
    found: Array = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return np.atleast_2d(found)


def paired(methods: Sequence[Placements]) -> Array:
    """Two-sided p-values [K, K] of paired tests that two of K methods have the same AUROC.

    1 for two methods that place every image alike. nan if the test cannot decide: a method without
    a pair in the wrong order has a variance of 0, as if it could never err; or there are fewer than
    two images of one kind. nan on the diagonal.
    """
    count = len(methods)
    if not count or not methods[0].enough:
        return np.full((count, count), math.nan)
    spread = covariance(methods)
    variance = np.diag(spread)
    areas = np.array([each.auroc for each in methods])
    differences = areas[:, None] - areas
    variances = variance[:, None] + variance - 2 * spread
    alike = variances <= 1e-12 * variance.max()
    z = np.abs(differences) / np.sqrt(np.where(alike, math.inf, variances))
    p = np.vectorize(math.erfc, otypes=[float])(z / math.sqrt(2))
    decided = (variance[:, None] > 0) & (variance > 0) & ~np.eye(count, dtype=bool)
    return np.where(decided, p, math.nan)
