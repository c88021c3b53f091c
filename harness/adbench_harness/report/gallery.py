"""How wrong the score of each test image is, and the order in which a gallery shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Judgment:
    """An image's index, how wrong its score is (a fraction), that in words, and whether it is.

    ``mistaken`` is None if nobody can say: the image is unlabelled, or has nothing to be compared
    with.
    """

    index: int
    wrong: float
    words: str
    mistaken: bool | None = None


def judgments(images: Arrays) -> list[Judgment]:
    """Every test image, the most wrong first; ties by how close the score is to being wrong.

    How wrong a defective image is, is the fraction of normal images that score at least as high;
    for a normal image, it is the fraction of defective images that score no higher. A classified
    image is as wrong as its class is improbable. Images that cannot be judged come last, the
    highest score first.
    """
    labels = images["label"]
    if "probability" in images:
        return _classified(images)
    if "score" not in images:
        return [Judgment(index, 0.0, _unjudged(label)) for index, label in enumerate(labels)]
    scores = images["score"].astype(float)
    normal, defective = scores[labels == 0], scores[labels == 1]
    found: list[tuple[tuple[float, float, float], Judgment]] = []
    for index, (label, score) in enumerate(zip(labels, scores, strict=True)):
        others = normal if label else defective
        if label < 0 or not len(others):
            kind = "normal" if label else "defective"
            words = UNLABELLED if label < 0 else f"no {kind} images to compare with"
            found.append(((1, -score, 0.0), Judgment(index, 0.0, words)))
            continue
        ahead = int(np.count_nonzero(others >= score if label else others <= score))
        wrong = ahead / len(others)
        if ahead and label:
            words = f"missed: {ahead} of {len(others)} normal images score at least as high"
        elif ahead:
            words = f"false alarm: {ahead} of {len(others)} defective images score no higher"
        else:
            side, kind = ("above", "normal") if label else ("below", "defective")
            words = f"{side} all {len(others)} {kind} images"
        margin = score - others.max() if label else others.min() - score
        judgment = Judgment(index, wrong, words, wrong > 0)
        found.append(((0, -wrong, float(margin)), judgment))
    return [judgment for _, judgment in sorted(found, key=lambda item: item[0])]


def standings(images: Arrays) -> NDArray[np.float64] | None:
    """The share of normal images that score below each image [N], a tie counting half.

    It makes the scores of two methods comparable. Without normal images it is the share of all
    images. None without scores.
    """
    if "score" not in images:
        return None
    scores = images["score"].astype(float)
    known = np.sort(scores[images["label"] == 0])
    known = known if len(known) else np.sort(scores)
    below = np.searchsorted(known, scores, "left") + np.searchsorted(known, scores, "right")
    return below / (2 * len(known))


def _unjudged(label: int) -> str:
    return UNLABELLED if label < 0 else "no image score"


def _classified(images: Arrays) -> list[Judgment]:
    names = images["class"].tolist()
    found = []
    for index, (row, defect, label) in enumerate(
        zip(images["probability"], images["defect"], images["label"], strict=True)
    ):
        said = names[int(row.argmax())]
        if label < 0:
            found.append(Judgment(index, 0.0, f"{UNLABELLED}: called {said} ({row.max():.0%})"))
            continue
        wrong = 1 - float(row[names.index(defect)]) if defect in names else 1.0
        verb = "mistaken for" if said != defect else "recognised as"
        found.append(Judgment(index, wrong, f"{verb} {said} ({row.max():.0%})", said != defect))
    return sorted(found, key=lambda judgment: (judgment.mistaken is None, -judgment.wrong))
