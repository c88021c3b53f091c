"""Thresholds of image scores: from held-out normal images, or the best one for known labels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def of_false_alarms(held_out: NDArray[np.floating], rate: float) -> float:
    """The lowest score of held-out normal images [V] that at most ``rate`` of them exceed.

    An image is anomalous if its score is higher. If ``rate`` is below 1 / V, it is the highest
    score: V images cannot show a lower rate.
    """
    descending = np.sort(held_out)[::-1]
    # Rounded first, since 0.07 * 100 is above 7.
    return float(descending[int(round(rate * len(descending), 9))])


def recall(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    held_out: NDArray[np.floating],
    rate: float,
) -> tuple[float, int]:
    """The share of anomalous images above the threshold of ``of_false_alarms``, and their number.

    ``scores`` [N] have ``labels`` [N] 0, 1 or -1 (unknown). The share is nan and the number 0 if
    there is no anomalous image or no held-out score.
    """
    anomalous = scores[labels == 1]
    if not len(anomalous) or not len(held_out):
        return math.nan, 0
    return float(np.mean(anomalous > of_false_alarms(held_out, rate))), len(anomalous)


def of_best_f1(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The threshold with the highest F1 over scores [N] with labels 0 or 1 [N].

    It is chosen on the images that it is judged by, so it flatters. An image is anomalous if its
    score is higher; the threshold is halfway between two scores.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], labels[order] == 1
    found = np.cumsum(positive)
    f1 = 2 * found / (np.arange(1, len(ordered) + 1) + positive.sum())
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal scores are on one side
    best = int(np.argmax(np.where(last, f1, -1.0)))
    below = ordered[best + 1] if best + 1 < len(ordered) else ordered[best] - 1
    return float((float(ordered[best]) + float(below)) / 2)
