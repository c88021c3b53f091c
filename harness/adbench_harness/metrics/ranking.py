"""Exact ranking metrics of images or pixels: AUROC, average precision, F1-max and AUPRO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.metrics.regions import region_weights

Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.bool_]
Counts = NDArray[np.int64]
Weights = NDArray[np.float64]

_RANGE = 1 << 25  # scores that a thread sorts at once, at most: bounds the memory
_STRIDE = 64  # one score in so many is sampled to find ranges of about that size


@dataclass(frozen=True, eq=False)
class Ranking:
    """What lies at or above each distinct score of a positive, the highest score first.

    From one of these U thresholds to the next only negatives come in between, so they determine
    every metric exactly, ties included. A metric is nan where positives or negatives are missing.

    Attributes:
        true_positives: [U], positives that score at least the threshold.
        false_positives: [U], negatives that score at least the threshold.
        tied: [U], negatives that score exactly the threshold.
        overlap: [U], share of the positives that score at least the threshold; for pixels, the
            mean of that share over the defective regions.
        negatives: how many there are in all.
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
        return _rank([scores], [labels], regions=False, threads=1)

    @classmethod
    def of_pixels(
        cls, maps: Sequence[Scores], masks: Sequence[Labels], *, threads: int | None = None
    ) -> Ranking:
        """Rank the pixels of all images together.

        Each thread sorts up to 128 MiB of scores at a time, so that memory does not grow with the
        number of images, save for some 80 bytes for each defective pixel.

        Args:
            maps: one anomaly map [H,W] an image, used as it is; sizes may differ between images.
            masks: one mask [H,W] an image, true where defective.
            threads: as many as torch uses if None.

        Raises:
            ValueError: maps and masks differ in number or shape, or a score is not finite.
        """
        if threads is None:
            import torch

            threads = torch.get_num_threads()
        return _rank(maps, masks, regions=True, threads=threads)

    @property
    def positives(self) -> int:
        """How many there are in all."""
        return int(self.true_positives[-1]) if self.true_positives.size else 0

    @property
    def defined(self) -> bool:
        """Whether there are both positives and negatives."""
        return self.positives > 0 and self.negatives > 0

    def auroc(self) -> float:
        """Area under the ROC curve: the share of pairs in the right order, a tie counting half."""
        return self._area(self.true_positives / self.positives, 1.0) if self.defined else math.nan

    def average_precision(self) -> float:
        """Precision at each positive's own score, averaged over the positives."""
        if not self.defined:
            return math.nan
        precision = self.true_positives / (self.true_positives + self.false_positives)
        return float(np.sum(np.diff(self.true_positives, prepend=0) * precision)) / self.positives

    def f1_max(self) -> float:
        """Best F1 that any threshold reaches."""
        if not self.defined:
            return math.nan
        predicted = self.true_positives + self.false_positives
        return float(np.max(2 * self.true_positives / (predicted + self.positives)))

    def aupro(self, limit: float) -> float:
        """Area under the mean per-region overlap up to a false positive rate, over that limit.

        The curve is linear between thresholds, also where the limit cuts it, as in the evaluation
        code of MVTec AD (Bergmann et al., IJCV 2021).

        Raises:
            ValueError: the limit is not in (0,1].
        """
        if not 0 < limit <= 1:
            raise ValueError(f"the limit of the false positive rate is {limit}, not in (0,1]")
        return self._area(self.overlap, limit) if self.defined else math.nan

    def _area(self, height: Weights, limit: float) -> float:
        """Integrate a height [U] over the false positive rate up to the limit, over that limit.

        Each threshold's gain in height counts from there to the limit, and half over the negatives
        that tie with it, along which the curve climbs straight; the limit cuts one tie at most.
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
        return float(area) / end


@dataclass(frozen=True, eq=False)
class _Range:
    """A ``Ranking`` of some of the scores; ``gain`` is the weight at each threshold."""

    true_positives: Counts
    false_positives: Counts
    tied: Counts
    gain: Weights
    positives: int
    negatives: int


def _rank(
    scores: Sequence[Scores], labels: Sequence[Labels], *, regions: bool, threads: int
) -> Ranking:
    scores = [np.asarray(score) for score in scores]
    labels = [np.asarray(label, dtype=bool) for label in labels]
    if not scores or [score.shape for score in scores] != [label.shape for label in labels]:
        raise ValueError("scores and ground truth are empty or differ in number or shape")
    for index, score in enumerate(scores):
        if not np.isfinite(score).all():
            raise ValueError(f"scores {index} hold a value that is not finite (nan or infinity)")
    positives = np.concatenate([s[label] for s, label in zip(scores, labels, strict=True)])
    cuts = _cuts(scores, threads)
    with ThreadPoolExecutor(threads) as pool:  # NumPy selects, sorts and searches without the GIL
        if regions:
            weights = np.concatenate(list(pool.map(region_weights, labels)))
        else:
            weights = np.ones(len(positives))

        def rank_range(low: float, high: float) -> _Range:
            return _rank_range(scores, positives, weights, low, high)

        return _stack(list(pool.map(rank_range, [*cuts, -math.inf], [math.inf, *cuts])))


def _cuts(scores: Sequence[Scores], threads: int) -> list[float]:
    """Cut the scores, highest first, into ranges of about the same number of them."""
    size = sum(score.size for score in scores)
    ranges = threads * math.ceil(size / (threads * _RANGE))
    sample = np.sort(np.concatenate([score.ravel()[::_STRIDE] for score in scores]))
    return [sample[len(sample) * cut // ranges] for cut in range(ranges - 1, 0, -1)]


def _rank_range(
    scores: Sequence[Scores], positives: Scores, weights: Weights, low: float, high: float
) -> _Range:
    """Rank the scores in [low,high) as if there were no others."""
    room = np.empty(sum(score.size for score in scores), positives.dtype)  # taken up once written
    size = 0
    for score in scores:
        chosen = score.ravel().compress(_inside(score, low, high))  # far faster than by indexing
        room[size : size + len(chosen)] = chosen
        size += len(chosen)
    every = room[:size]
    every.sort()
    inside = _inside(positives, low, high)
    positives, weights = positives.compress(inside), weights.compress(inside)
    order = np.argsort(positives, kind="stable")
    thresholds, first = np.unique(positives[order], return_index=True)
    true_positives = len(positives) - first
    left = np.searchsorted(every, thresholds)
    tied = np.searchsorted(every, thresholds, side="right") - left
    gain = np.add.reduceat(weights[order], first) if first.size else weights
    return _Range(
        true_positives=true_positives[::-1],
        false_positives=(len(every) - left - true_positives)[::-1],
        tied=(tied - np.diff(first, append=len(positives)))[::-1],
        gain=gain[::-1],
        positives=len(positives),
        negatives=len(every) - len(positives),
    )


def _inside(scores: Scores, low: float, high: float) -> Labels:
    return ((scores >= low) & (scores < high)).ravel()


def _stack(parts: Sequence[_Range]) -> Ranking:
    """Join adjacent ranges, highest first: what lies above adds to every count.

    Weights are added up over all ranges at once, so that no bit depends on where the cuts were.
    """
    positives = negatives = 0
    for part in parts:
        np.add(part.true_positives, positives, out=part.true_positives)
        np.add(part.false_positives, negatives, out=part.false_positives)
        positives += part.positives
        negatives += part.negatives
    weight = np.cumsum(np.concatenate([part.gain for part in parts]))
    return Ranking(
        true_positives=np.concatenate([part.true_positives for part in parts]),
        false_positives=np.concatenate([part.false_positives for part in parts]),
        tied=np.concatenate([part.tied for part in parts]),
        overlap=weight / (weight[-1] if weight.size else 1.0),
        negatives=negatives,
    )
