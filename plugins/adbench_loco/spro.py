"""Saturated per-region overlap (Bergmann et al., IJCV 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from adbench_harness.evaluation import Evaluation, Ranking


def spro(evaluation: Evaluation, limit: float) -> float:
    """Area under the mean saturated overlap up to a false positive rate, over that limit.

    A region is one mask of an image, even if it has several parts; a pixel of two regions counts in
    both. A pixel is normal if it is in no region. The curve is exact, like that of
    ``Ranking.aupro``: every distinct score is a threshold, and it is linear between them.
    """
    return evaluation.once(_ranking).aupro(limit) if evaluation.maps else math.nan


def _ranking(evaluation: Evaluation) -> Ranking:
    assert evaluation.maps is not None
    assert evaluation.masks is not None
    assert evaluation.regions is not None
    saturation = evaluation.saturation or [()] * len(evaluation.maps)
    each = zip(evaluation.maps, evaluation.masks, evaluation.regions, saturation, strict=True)
    return evaluation.weighted([weights(*image) for image in each])


def weights(
    scores: NDArray[np.floating[Any]],
    mask: NDArray[np.bool_],
    regions: Sequence[NDArray[np.bool_]],
    saturation: Sequence[float | None],
) -> NDArray[np.float64]:
    """What each pixel of a mask adds to the overlap of an image's regions once it is found.

    In the order of their scores, the highest first, a region's pixels add 1 / saturation each until
    the sum is 1, and nothing after that. The overlap at a threshold is the sum over the pixels that
    score at least as much. Pixels with the same score are found together, so their order does not
    matter.

    Args:
        scores: [H,W].
        mask: bool [H,W], the union of the regions.
        regions: bool [H,W] each; a region without pixels does not count.
        saturation: the px of each region that are enough; None, or an empty sequence: all of it.

    Returns:
        float64 [P], in the order of the mask's true pixels, row by row.
    """
    added = np.zeros(mask.shape)
    for region, enough in zip(regions, saturation or [None] * len(regions), strict=True):
        area = int(np.count_nonzero(region))
        if area == 0:
            continue
        saturated = float(area if enough is None else min(enough, area))
        ranks = np.empty(area)
        ranks[np.argsort(-scores[region], kind="stable")] = np.arange(area)
        added[region] += np.clip(saturated - ranks, 0, 1) / saturated
    return added[mask]
