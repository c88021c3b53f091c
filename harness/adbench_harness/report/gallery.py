"""Test images as thumbnails, the worst mistakes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adbench_harness.images import geometry
from adbench_harness.images.geometry import Image
from adbench_harness.results.maps import Maps
from adbench_harness.running.images import TrialImages

SIDE = 256
"""The longer side of a thumbnail in px."""
_QUALITY = [cv2.IMWRITE_WEBP_QUALITY, 70]
_TRUTH = (0, 255, 255)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Judgment:
    """An image's index, how wrong its score is (a fraction), the same in words, and a flag."""

    index: int
    wrong: float
    words: str
    mistaken: bool = False


def judgments(images: Arrays) -> list[Judgment]:
    """Every test image, the most wrong first; ties by how close the score is to being wrong.

    How wrong a defective image is, is the fraction of normal images that score at least as high;
    for a normal image, it is the fraction of defective images that score no higher. A classified
    image is as wrong as its class is improbable. Images with an unknown label or without a score
    come last, in the data set's order.
    """
    if "probability" in images:
        return _classified(images)
    labels = images["label"]
    if "score" not in images:
        return [Judgment(index, 0.0, "no image score") for index in range(len(labels))]
    scores = images["score"].astype(float)
    normal, defective = scores[labels == 0], scores[labels == 1]
    found: list[tuple[float, float, Judgment]] = []
    for index, (label, score) in enumerate(zip(labels, scores, strict=True)):
        others = normal if label else defective
        if label < 0 or not len(others):
            words = "not judged: " + ("unknown label" if label < 0 else "no images to compare with")
            found.append((0.0, np.inf, Judgment(index, 0.0, words)))
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
        found.append((-wrong, float(margin), Judgment(index, wrong, words, wrong > 0)))
    return [judgment for *_, judgment in sorted(found, key=lambda item: item[:2])]


def _classified(images: Arrays) -> list[Judgment]:
    names = images["class"].tolist()
    found = []
    for index, (row, defect) in enumerate(
        zip(images["probability"], images["defect"], strict=True)
    ):
        said = names[int(row.argmax())]
        wrong = 1 - float(row[names.index(defect)]) if defect in names else 1.0
        verb = "mistaken for" if said != defect else "recognised as"
        found.append(Judgment(index, wrong, f"{verb} {said} ({row.max():.0%})", said != defect))
    return sorted(found, key=lambda judgment: -judgment.wrong)


def thumbnails(
    here: TrialImages, path: str, maps: Maps | None, index: int
) -> tuple[Image, Image | None]:
    """An image with and without its anomaly map, both with the defect's outline."""
    image = here.image(path)
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    truth = here.mask(path)
    under = None if maps is None else _heated(small, maps, index)
    if truth is not None and truth.any():
        # A partly covered pixel counts, so that a thin scratch does not vanish.
        shrunk = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        for picture in (small, *([under] if under is not None else ())):
            _outline(picture, shrunk)
    return small, under


def _heated(image: Image, maps: Maps, index: int) -> Image:
    """The image in grey under its map in colour; the trial's maps share the scale."""
    shares = maps.steps[index].astype(np.float32) / 65535
    placed = geometry.from_input(shares, maps.spec, image.shape[:2])
    heat = cv2.applyColorMap((placed * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(cv2.cvtColor(heat, cv2.COLOR_BGR2RGB), 0.65, grey, 0.35, 0)
    return np.asarray(mixed, np.uint8)


def save(image: Image, path: Path) -> None:
    """Write a thumbnail."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)
    path.write_bytes(content.tobytes())


def _outline(image: Image, mask: NDArray[np.bool_]) -> None:
    """Draw a line around a defect, not over it; bright on dark, to be visible on any image."""
    around = cv2.dilate(mask.view(np.uint8), np.ones((7, 7), np.uint8))
    edges, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, edges, -1, (0, 0, 0), 3)
    cv2.drawContours(image, edges, -1, _TRUTH, 1)
