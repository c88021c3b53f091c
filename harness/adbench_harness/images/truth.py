"""The ground truth of images by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adbench_harness.images import masks
from adbench_harness.images.masks import Mask
from adbench_harness.types import Sample


@dataclass(frozen=True, eq=False)
class Truth:
    """The masks of some images, each at the image's own size.

    ``masks`` has the union of each sample's masks, bool [H, W], or None if there is no truth by
    pixel. ``threshold`` is that of ``masks``.
    """

    samples: Sequence[Sample]
    masks: Sequence[Mask | None]
    threshold: int | None

    def size(self, i: int) -> tuple[int, int]:
        """Height and width in px of an image whose mask is known."""
        mask = self.masks[i]
        assert mask is not None
        height, width = mask.shape
        return height, width

    def regions(self, i: int) -> list[Mask]:
        """The separate masks of that image, read from their files; a normal image has none."""
        return masks.regions(self.samples[i], self.threshold, self.size(i))

    def saturation(self, i: int) -> Sequence[float | None]:
        """For each of these regions, the area in px that a model must find; None: all of it."""
        sample = self.samples[i]
        return sample.saturation or (None,) * len(sample.masks)
