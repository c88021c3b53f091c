"""Exact ranking metrics of images or pixels: AUROC, average precision, F1-max and AUPRO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from adbench_harness.metrics.regions import region_weights
from adbench_harness.metrics.tally import Counts, Scores, Tally, keys, not_finite, sort

if TYPE_CHECKING:
    from torch import Tensor

Labels = NDArray[np.bool_]
Weights = NDArray[np.float64]

CHUNK = 1 << 24
"""Number of scores compared at once on a GPU: about 500 MB."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Counts at and above each distinct score of a positive, the highest score first.

    Between two of these U thresholds there are only negatives, so the counts determine every metric
    exactly, including ties. A metric is nan if there are no positives or no negatives.

    Attributes:
        true_positives: [U], positives that score at least the threshold.
        false_positives: [U], negatives that score at least the threshold.
        tied: [U], negatives that score exactly the threshold.
        overlap: [U], fraction of the positives' weight that scores at least the threshold; for
            pixels, by default, the mean over the defective regions of the fraction that does.
        negatives: total number of negatives.
    """

    true_positives: Counts
    false_positives: Counts
    tied: Counts
    overlap: Weights
    negatives: int

    @classmethod
    def of_images(cls, scores: Scores, labels: Labels) -> Ranking:
        """Rank images by their scores [N]; labels [N] are true where anomalous.

        Raises:
            ValueError: the shapes differ, or a score is not finite.
        """
        return _rank([scores], [labels], [np.ones(np.count_nonzero(labels))], threads=1)

    @classmethod
    def of_pixels(
        cls,
        maps: Sequence[Scores] | Sequence[Tensor],
        masks: Sequence[Labels],
        weights: Sequence[Weights] | None = None,
        *,
        threads: int | None = None,
    ) -> Ranking:
        """Rank the pixels of all images together.

        Memory does not grow with the number of images, except for about 100 bytes for each
        defective pixel; it takes about 20 MB per thread.

        Args:
            maps: one anomaly map [H,W] per image, used as it is; sizes may differ between images.
                Tensors are compared on their device.
            masks: one mask [H,W] per image, true where defective.
            weights: per image, those of its mask's true pixels [P], row by row, in the overlap;
                None gives every connected region the same weight.
            threads: None uses as many as torch does.

        Raises:
            ValueError: maps and masks (or weights) differ in number or shape, or a score is not
                finite.
        """
        import torch

        threads = threads or torch.get_num_threads()
        masks = [np.asarray(mask, bool) for mask in masks]
        if weights is None:
            with ThreadPoolExecutor(threads) as pool:  # OpenCV works without the GIL
                weights = list(pool.map(region_weights, masks))
        elif [len(weight) for weight in weights] != [np.count_nonzero(mask) for mask in masks]:
            raise ValueError("weights and the defective pixels of the masks differ in number")
        if maps and isinstance(maps[0], torch.Tensor):
            return _rank_tensors(maps, masks, weights)
        return _rank(maps, masks, weights, threads)

    @classmethod
    def of_counts(cls, positives: Counts, weights: Weights, counts: Counts) -> Ranking:
        """Sum up the counts at U ascending thresholds.

        Args:
            positives: [U], how many score each threshold.
            weights: [U], sum of the weights of the positives that score each threshold.
            counts: [2U+1], positives and negatives below the first threshold, at it, between it
                and the second, and so on.
        """
        return cls(*_sum_up(positives, weights, counts))

    @property
    def positives(self) -> int:
        """Total number of positives."""
        return int(self.true_positives[-1]) if self.true_positives.size else 0

    @property
    def defined(self) -> bool:
        """Whether there are both positives and negatives."""
        return self.positives > 0 and self.negatives > 0

    def auroc(self) -> float:
        """Area under the ROC curve: the fraction of correctly ordered pairs; a tie counts half."""
        return self._area(self.true_positives / self.positives, 1.0) if self.defined else math.nan

    def average_precision(self) -> float:
        """Precision at each positive's own score, averaged over the positives."""
        if not self.defined:
            return math.nan
        precision = self.true_positives / (self.true_positives + self.false_positives)
        return float(np.sum(np.diff(self.true_positives, prepend=0) * precision)) / self.positives

    def f1_max(self) -> float:
        """Highest F1 of all thresholds."""
        if not self.defined:
            return math.nan
        predicted = self.true_positives + self.false_positives
        return float(np.max(2 * self.true_positives / (predicted + self.positives)))

    def aupro(self, limit: float) -> float:
        """Area under the mean per-region overlap up to a false positive rate, divided by it.

        The curve is linear between thresholds, also where it reaches the limit, as in the
        evaluation code of MVTec AD (Bergmann et al., IJCV 2021).

        Raises:
            ValueError: the limit is not in (0,1].
        """
        if not 0 < limit <= 1:
            raise ValueError(f"the limit of the false positive rate must be in (0,1], not {limit}")
        return self._area(self.overlap, limit) if self.defined else math.nan

    def _area(self, height: Weights, limit: float) -> float:
        """Integrate a height [U] over the false positive rate up to the limit, divided by it.

        Each threshold's gain in height counts from there to the limit, and half over the negatives
        that tie with it, where the curve is a straight line; the limit is inside one tie at most.
        """
        end = limit * self.negatives
        within = int(np.searchsorted(self.false_positives, end, side="right"))
        gain = np.diff(height[: within + 1], prepend=0)
        passed = self.false_positives[:within] - self.tied[:within] / 2
        area = np.sum(gain[:within] * (end - passed))
        if within < len(height):
            tied = self.tied[within]
            covered = max(end - self.false_positives[within] + tied, 0)
            area += gain[within] * covered**2 / (2 * max(tied, 1))
        return min(float(area) / end, 1.0)  # rounding


def _rank(
    scores: Sequence[Any], labels: Sequence[Labels], weights: Sequence[Weights], threads: int
) -> Ranking:
    scores = [np.asarray(score) for score in scores]
    _check(scores, labels)
    width = np.result_type(np.float32, *(score.dtype for score in scores))
    scores = [score.astype(width, copy=False) for score in scores]
    found = np.concatenate([s[label] for s, label in zip(scores, labels, strict=True)])
    ordered, order = sort(keys(found))
    first = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    # Without positives no metric is defined, but the scores are checked anyway.
    tally = Tally(ordered[first] if first.size else np.zeros(1, ordered.dtype))
    ends = np.append(first[1:], len(found)) if first.size else np.zeros(1, int)
    positives, sums = _add(ends, order, np.concatenate(weights))
    return Ranking.of_counts(positives, sums, tally.count(scores, threads))


def _rank_tensors(
    maps: Sequence[Any], masks: Sequence[Labels], weights: Sequence[Weights]
) -> Ranking:
    """Like ``_rank``, by a binary search for every score: a GPU has the memory bandwidth for it."""
    import torch

    _check(maps, masks)
    device = maps[0].device
    for index, finite in enumerate(torch.stack([m.isfinite().all() for m in maps]).tolist()):
        if not finite:
            raise not_finite(index)
    truth = [torch.from_numpy(mask).to(device) for mask in masks]
    found = torch.cat([m[mask] for m, mask in zip(maps, truth, strict=True)])
    thresholds, slots, positives = torch.unique(found, return_inverse=True, return_counts=True)
    if not len(thresholds):
        thresholds, positives = found.new_zeros(1), found.new_zeros(1, dtype=torch.int64)
    last = len(thresholds) - 1
    counts = torch.zeros(2 * last + 3, dtype=torch.int64, device=device)
    for chunk in (part for m in maps for part in torch.split(m.flatten(), CHUNK)):
        below = torch.searchsorted(thresholds, chunk)
        tied = thresholds[below.clamp(max=last)] == chunk
        counts += torch.bincount(2 * below + tied, minlength=len(counts))
    summed = torch.zeros(len(thresholds), dtype=torch.float64, device=device)
    summed.index_add_(0, slots, torch.from_numpy(np.concatenate(weights)).to(device))
    return Ranking.of_counts(positives.cpu().numpy(), summed.cpu().numpy(), counts.cpu().numpy())


def _check(scores: Sequence[Any], labels: Sequence[Labels]) -> None:
    if not scores or [tuple(s.shape) for s in scores] != [label.shape for label in labels]:
        raise ValueError("scores and ground truth are empty or differ in number or shape")


# Compiled, since numpy would write and read the arrays of all thresholds at every step.


@njit(nogil=True, cache=True)
def _add(ends: Any, order: Any, weights: Any) -> Any:
    """For each threshold the number and the sum of the weights from the end of the one before."""
    positives, sums = np.empty(len(ends), np.int64), np.zeros(len(ends))
    start = 0
    for slot in range(len(ends)):
        positives[slot] = ends[slot] - start
        for position in range(start, ends[slot]):
            sums[slot] += weights[order[position]]
        start = ends[slot]
    return positives, sums


@njit(nogil=True, cache=True)
def _sum_up(positives: Any, weights: Any, counts: Any) -> Any:
    """The attributes of a ``Ranking``, in their order."""
    size = len(positives)
    true_positives, false_positives = np.empty(size, np.int64), np.empty(size, np.int64)
    tied, overlap = np.empty(size, np.int64), np.empty(size)
    reached, passed, weight = np.int64(0), counts[2 * size], 0.0
    for rank in range(size):
        slot = size - 1 - rank
        reached += positives[slot]
        tied[rank] = counts[2 * slot + 1] - positives[slot]
        passed += tied[rank]
        weight += weights[slot]
        true_positives[rank], false_positives[rank], overlap[rank] = reached, passed, weight
        passed += counts[2 * slot]
    if weight:
        overlap /= weight
    return true_positives, false_positives, tied, overlap, passed
