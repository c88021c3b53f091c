"""The images of a trial in two runs: which scores changed, and which images flipped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.statistics import delong
from adbench_harness.wording import counted

Arrays = Mapping[str, NDArray[Any]]
KINDS = ("score", "probability")
"""What a result may have of each image, besides its file and truth."""
SIDES = np.array(["normal", "anomalous"])


@dataclass(frozen=True)
class Flip:
    """An image with a new prediction; ``old`` and ``new`` are its scores.

    For classes, they are the probabilities of the class that it ``was`` and ``is`` assigned to.
    """

    path: str
    defect: str
    was: str
    now: str
    old: float
    new: float


@dataclass(frozen=True)
class ImageChanges:
    """N images: how many scores changed by more than allowed, and the largest change.

    Distances are in standard deviations of the old scores, or differences of probabilities.
    ``p`` is that of the paired test between both AUROCs; nan if the test cannot decide.
    """

    total: int = 0
    moved: int = 0
    furthest: float = 0.0
    flips: tuple[Flip, ...] = ()
    threshold: float = math.nan
    p: float = math.nan


def threshold(scores: NDArray[np.floating[Any]], labels: NDArray[np.bool_]) -> float:
    """The threshold of the best F1, half-way to the next lower score: rounding flips no image.

    ``scores`` [N], ``labels`` [N] true where anomalous. Of equally good thresholds, it is the
    lowest; nan without anomalous images.
    """
    if not labels.any():
        return math.nan
    candidates = np.unique(scores.astype(float))
    called = len(scores) - np.searchsorted(np.sort(scores), candidates)
    hits = np.count_nonzero(labels) - np.searchsorted(np.sort(scores[labels]), candidates)
    best = int(np.argmax(hits / (called + np.count_nonzero(labels))))
    return float(candidates[max(best - 1, 0) : best + 1].mean())


def aligned(old: Arrays, new: Arrays) -> tuple[Arrays, tuple[str, ...]]:
    """``new`` in the order of ``old``'s images and classes, and why they cannot be compared.

    Without reasons, each value of both belongs to the same file, truth and class.
    """
    reasons = [
        f"{name} of the images: only in the {'baseline' if name in old else 'new run'}"
        for name in KINDS
        if (name in old) != (name in new)
    ]
    if reasons or not (old and new):
        return new, tuple(reasons)
    found = dict(new)
    for name, members in (("path", ("path", "label", "defect", *KINDS)), ("class", ("class",))):
        if name not in old:
            continue
        what = "images" if name == "path" else "classes"
        if other := _difference(old[name].tolist(), new[name].tolist()):
            return new, (f"{what}: {other}",)
        # Names that are there twice stay in their order.
        places = np.empty(len(old[name]), int)
        places[np.argsort(old[name], kind="stable")] = np.argsort(new[name], kind="stable")
        found |= {key: found[key][places] for key in members if key in found}
        if name == "class":
            found["probability"] = found["probability"][:, places]
    for name in ("label", "defect"):
        wrong = np.flatnonzero(old[name] != found[name])
        if len(wrong):
            first = wrong[0]
            reasons.append(
                f"{name} of {counted(len(wrong), 'image')}, such as {old['path'][first]}: "
                f"{old[name][first]} → {found[name][first]}"
            )
    return found, tuple(reasons)


def _difference(old: Sequence[str], new: Sequence[str]) -> str:
    """Names that are not in both; empty if there are none."""
    said = [
        f"{sum(only.values())} only in the {where}, such as {min(only)}"
        for where, only in (
            ("baseline", Counter(old) - Counter(new)),
            ("new run", Counter(new) - Counter(old)),
        )
        if only
    ]
    return "; ".join(said)


def changes(old: Arrays, new: Arrays, allowed: float) -> ImageChanges:
    """The changes in the images of a trial, which are ``aligned``; empty without image scores."""
    if "score" in old and "score" in new:
        return _scores(old, new, allowed)
    if "probability" in old and "probability" in new:
        return _classes(old, new, allowed)
    return ImageChanges()


def _scores(old: Arrays, new: Arrays, allowed: float) -> ImageChanges:
    before, after = old["score"].astype(float), new["score"].astype(float)
    known = old["label"] >= 0
    labels = old["label"][known] == 1
    cut = threshold(before[known], labels)
    was, now = before >= cut, after >= cut
    distance = np.abs(after - before) / (before.std() or 1.0)
    p = math.nan
    if 0 < np.count_nonzero(labels) < len(labels):
        placed = [delong.Placements.of(scores[known], labels) for scores in (before, after)]
        p = float(delong.paired(placed)[0, 1])
    return ImageChanges(
        total=len(before),
        moved=int(np.count_nonzero(distance > allowed)),
        furthest=float(distance.max(initial=0)),
        flips=_flips(old, was != now, SIDES[was * 1], SIDES[now * 1], before, after),
        threshold=cut,
        p=p,
    )


def _classes(old: Arrays, new: Arrays, allowed: float) -> ImageChanges:
    before, after = old["probability"].astype(float), new["probability"].astype(float)
    distance = np.abs(after - before).max(1)
    was, now = old["class"][before.argmax(1)], new["class"][after.argmax(1)]
    return ImageChanges(
        total=len(before),
        moved=int(np.count_nonzero(distance > allowed)),
        furthest=float(distance.max(initial=0)),
        flips=_flips(old, was != now, was, now, before.max(1), after.max(1)),
    )


def _flips(
    images: Arrays,
    flipped: NDArray[np.bool_],
    was: NDArray[np.str_],
    now: NDArray[np.str_],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> tuple[Flip, ...]:
    """The ``flipped`` images, the largest change first."""
    flips = np.flatnonzero(flipped)
    return tuple(
        Flip(
            path=str(images["path"][i]),
            defect=str(images["defect"][i]),
            was=str(was[i]),
            now=str(now[i]),
            old=float(before[i]),
            new=float(after[i]),
        )
        for i in flips[np.argsort(-np.abs(after - before)[flips], kind="stable")]
    )
