"""The ground truth of images by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench_harness.images import decoding
from adbench_harness.types import Sample

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Truth:
    """The masks of some images, each at the image's own size.

    ``masks`` has the union of each sample's masks, bool [H, W], or None if there is no truth by
    pixel. A pixel of a mask's file above ``threshold`` is anomalous.
    """

    samples: Sequence[Sample]
    masks: Sequence[Mask | None]
    threshold: int

    def size(self, i: int) -> tuple[int, int]:
        """Height and width in px of an image whose mask is known."""
        mask = self.masks[i]
        assert mask is not None
        height, width = mask.shape
        return height, width

    def regions(self, i: int) -> list[Mask]:
        """The separate masks of that image, read from their files; a normal image has none."""
        return decoding.regions(self.samples[i], self.threshold, self.size(i))

    def saturation(self, i: int) -> Sequence[float | None]:
        """For each of these regions, the area in px that a model must find; None: all of it."""
        sample = self.samples[i]
        return sample.saturation or (None,) * len(sample.masks)
