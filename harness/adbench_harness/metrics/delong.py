"""How sure an AUROC is: DeLong's confidence interval."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray


def interval(
    scores: NDArray[np.floating[Any]], labels: NDArray[np.bool_], level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of the AUROC of scores [N], labels [N] true where anomalous.

    The variance is that of DeLong et al. (Biometrics 1988), from midranks in O(N log N) as Sun and
    Xu have it (IEEE Signal Processing Letters 2014); the normal interval around the AUROC is cut
    to [0, 1]. It has no width where no pair is in the wrong order. Both ends are nan where there
    are fewer than two positives or negatives.
    """
    positives, negatives = scores[labels], scores[~labels]
    if min(len(positives), len(negatives)) < 2:
        return math.nan, math.nan
    every = _midranks(np.concatenate([positives, negatives]))
    # The share of the negatives below each positive, and of the positives above each negative.
    above = (every[: len(positives)] - _midranks(positives)) / len(negatives)
    below = 1 - (every[len(positives) :] - _midranks(negatives)) / len(positives)
    area = float(above.mean())
    error = math.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return max(0.0, area - reach), min(1.0, area + reach)


def _midranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The rank of each value, from 1; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: NDArray[np.float64] = last - (counts - 1) / 2
    return middle[inverse]
