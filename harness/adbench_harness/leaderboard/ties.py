"""Which rows of a board differ significantly: shared ranks, and a sentence for the reader."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench_harness.leaderboard.columns import Column
from adbench_harness.statistics import delong, significance

StoredImages = Callable[[int], Mapping[str, NDArray[Any]]]
"""The per-image arrays of the trial at an index of the results; empty if none are stored."""

TESTED = "image_auroc"
"""The metric whose difference on the images of one category can be tested."""
MOST = 100
"""Maximum number of rows that are tested: with more pairs, only very large differences count."""


class Ties(NamedTuple):
    """Ranks of the rows, a sentence about the result, and adjusted p-values [K, K] of all pairs.

    Ranks and p-values are None if nothing was tested.
    """

    ranks: NDArray[np.int64] | None
    sentence: str
    p: NDArray[np.float64] | None = None


def ties(
    rows: Sequence[pd.DataFrame],
    names: Sequence[str],
    metric: str,
    shown: Column,
    images: StoredImages,
) -> Ties:
    """Test complete rows for differences; each row is the frame of its trials, the best row first.

    Seeds are averaged. With one category, its images are the sample (DeLong's paired test). With
    several, the categories are the sample (Wilcoxon). All pairs are corrected for their number
    (Holm).
    """
    if len(rows) < 2:
        return Ties(None, "")
    if len(rows) > MOST:
        return _untested(shown, f"{len(rows)} rows are too many to test every pair")
    by_category = [row.groupby("category")[metric].mean() for row in rows]
    values = pd.DataFrame(by_category).to_numpy() * (1 if shown.higher_is_better else -1)
    count = values.shape[1]
    if count > 1:
        needed = significance.needed(len(rows))
        if count < needed:
            return _untested(
                shown,
                f"{count} categories are too few to say which of {len(rows)} rows differ "
                f"({needed} needed)",
            )
        p = significance.holm(significance.wilcoxon(values))
        how = f"Wilcoxon signed-rank tests over {count} categories, Holm"
    elif metric != TESTED:
        return _untested(shown, "no test says which rows differ on one category")
    else:
        placements = _placements(rows, images)
        if placements is None:
            return _untested(
                shown, "no test says which rows differ, since some lack scores of the same images"
            )
        p = significance.holm(delong.paired(placements))
        how = "paired DeLong tests on the same images, Holm"
    ranks = significance.ranks(values.mean(axis=1), p)
    return Ties(ranks, _sentence(names, values, p, f"{shown.title}; {how}"), p)


def _untested(shown: Column, reason: str) -> Ties:
    return Ties(None, f"{shown.title}: {reason}; ranks follow the numbers, not a test")


def _placements(
    rows: Sequence[pd.DataFrame], images: StoredImages
) -> list[delong.Placements] | None:
    """Each row's placements, averaged over seeds; None unless all trials have the same images."""
    stored = [[images(index) for index in row.index] for row in rows]
    every = [arrays for row in stored for arrays in row]
    first = every[0]
    if any("score" not in arrays for arrays in every) or any(
        not np.array_equal(arrays[key], first[key])
        for arrays in every[1:]
        for key in ("path", "label")
    ):
        return None
    known = first["label"] >= 0
    labels = first["label"][known] == 1
    return [
        delong.Placements.mean(
            [delong.Placements.of(arrays["score"][known], labels) for arrays in row]
        )
        for row in stored
    ]


def _sentence(
    names: Sequence[str], values: NDArray[np.float64], p: NDArray[np.float64], how: str
) -> str:
    first, others = names[0], range(1, len(names))
    tied = [names[i] for i in others if p[0, i] >= significance.LEVEL]
    undecided = [i for i in others if math.isnan(p[0, i])]
    worse = [names[i] for i in others if p[0, i] < significance.LEVEL]
    parts = []
    if tied:
        parts.append(f"{_listed([first, *tied])} are a tie at 95%")
    if worse and not tied:
        parts.append(f"{first} is better than {_listed(worse)} at 95%")
    if undecided:
        at_one = values.shape[1] == 1 and np.isclose(values[0], 1, atol=1e-9).all()
        where = "at AUROC 100 the test" if at_one else "the test"
        shown = np.round(values.mean(axis=1), 3)
        level = [names[i] for i in undecided if shown[i] == shown[0]]
        what = (
            f"decide between {_listed([first, *level])}"
            if level
            else f"compare {first} with others"
        )
        parts.append(f"{where} cannot {what}; ranks follow the numbers")
    return f"{'; '.join(parts)} ({how})"


def _listed(names: Sequence[str]) -> str:
    shown = list(names) if len(names) <= 4 else [*names[:2], f"{len(names) - 2} others"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
