"""Confidence intervals of a proportion."""

from __future__ import annotations

import math
from statistics import NormalDist


def interval(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (JASA 1927) of a share that was observed among ``count``.

    It is inside [0,1], and has a width even if the share is 0 or 1. Its ends are nan if ``count``
    is 0.
    """
    if not count:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    # Because of rounding, an end could be on the wrong side of the share.
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))
