"""Test images and their anomaly maps as small pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adbench_harness.images import geometry
from adbench_harness.images.geometry import Image
from adbench_harness.results.maps import Maps
from adbench_harness.running.images import TrialImages
from adbench_harness.types import InputSpec

SIDE = 256
"""The longer side of a thumbnail in px."""
_QUALITY = [cv2.IMWRITE_WEBP_QUALITY, 70]
_TRUTH = (0, 255, 255)
_ENDS = (1, 99.5)
"""Percentiles of a trial's scores between which the colours range."""
_DARK, _RAISED = 0.2, 0.4
"""A scale on which 95% of the pixels are below the first is raised until they reach the second."""
_SAMPLE = 1_000_000
"""The number of pixels whose percentiles stand for those of all."""


@dataclass(frozen=True)
class Scale:
    """How a trial's scores become colours: the same way in all its maps.

    ``low`` and ``high`` are scores: percentiles of them if they are ``robust``, so that a few
    extreme ones do not make all the rest black. A heavy tail is drawn with a ``power`` below 1.
    ``flat``: all scores are the same.
    """

    low: float
    high: float
    power: float = 1.0
    robust: bool = True
    flat: bool = False

    @staticmethod
    def of(maps: Maps) -> Scale:
        """The scale of a trial's maps."""
        lowest, highest = float(maps.values.min()), float(maps.values.max())
        if highest <= lowest:
            return Scale(0, 1, flat=True)
        scores = maps.values.ravel()
        scores = scores[:: max(1, len(scores) // _SAMPLE)].astype(np.float64)
        low, high, most = np.percentile(scores, [*_ENDS, 95])
        if high <= low:  # less than a pixel in 100 differs
            return Scale(lowest, highest, robust=False)
        share = (most - low) / (high - low)
        if share >= _DARK:
            return Scale(low, high)
        if share <= 0:  # 95% of the scores are the same
            inside = scores[(scores > low) & (scores < high)]
            share = (float(np.median(inside)) - low) / (high - low) if len(inside) else _RAISED
        return Scale(low, high, min(1.0, math.log(_RAISED) / math.log(share)))

    def shares(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Positions on the scale, from 0 to 1; the middle of it if all scores are the same."""
        if self.flat:
            return np.full(scores.shape, 0.5, np.float32)
        shares = (scores.astype(np.float64) - self.low) / (self.high - self.low)
        return np.asarray(np.clip(shares, 0, 1) ** self.power, np.float32)

    def words(self, maps: Maps) -> str:
        """What the colours mean, in one or two sentences."""
        if self.flat:
            return "All scores of all maps of this trial are the same, so the maps are flat."
        ends = "the 1st and 99.5th percentile" if self.robust else "the lowest and the highest"
        words = (
            f"The colours of all maps range from black ({self.low:.3g}) to yellow "
            f"({self.high:.3g}), {ends} of this trial's scores."
        )
        same = np.count_nonzero(maps.values == maps.values.min()) / maps.values.size
        if same > 0.5:
            words += f" {same:.0%} of the pixels have the lowest score."
        if self.power < 1:
            words += f" The scores have a heavy tail, so the scale is a power, {self.power:.2g}."
        return words


class Thumbnails:
    """The pictures of one category's images; each is decoded once for all rows."""

    def __init__(self, images: TrialImages) -> None:
        self._images = images
        self._small: dict[str, Image] = {}
        self._truth: dict[str, NDArray[np.bool_] | None] = {}

    def image(self, path: str) -> Image:
        """An image with the outline of its defect."""
        return self._outlined(self._plain(path).copy(), path)

    def heat(self, path: str, maps: Maps, scale: Scale, index: int) -> Image:
        """The image in grey under its map in colour, with the outline of its defect."""
        image = self._plain(path)
        return self._outlined(coloured(image, maps.values[index], maps.spec, scale), path)

    def outlined(self, path: str) -> bool:
        """Whether an image's pictures show the outline of a defect."""
        self._plain(path)
        return self._truth[path] is not None

    def _plain(self, path: str) -> Image:
        if path not in self._small:
            image = self._images.image(path)
            scale = min(1.0, SIDE / max(image.shape[:2]))
            size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            self._small[path] = np.asarray(small, np.uint8)
            truth = self._images.mask(path)
            self._truth[path] = None
            if truth is not None and truth.any():
                # A partly covered pixel counts, so that a thin scratch does not vanish.
                shrunk = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA)
                self._truth[path] = shrunk > 0
        return self._small[path]

    def _outlined(self, image: Image, path: str) -> Image:
        """Draw a line around a defect, not over it; bright on dark, visible on any image."""
        truth = self._truth[path]
        if truth is not None:
            around = cv2.dilate(truth.view(np.uint8), np.ones((7, 7), np.uint8))
            edges, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, edges, -1, (0, 0, 0), 3)
            cv2.drawContours(image, edges, -1, _TRUTH, 1)
        return image


def coloured(image: Image, scores: NDArray[np.float32], spec: InputSpec, scale: Scale) -> Image:
    """The image in grey under its map [h, w] in colour."""
    placed = geometry.from_input(scale.shares(scores), spec, image.shape[:2])
    heat = cv2.applyColorMap((placed * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(cv2.cvtColor(heat, cv2.COLOR_BGR2RGB), 0.65, grey, 0.35, 0)
    return np.asarray(mixed, np.uint8)


def encoded(image: Image) -> bytes:
    """A picture as a WebP file."""
    _, content = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)
    return content.tobytes()
