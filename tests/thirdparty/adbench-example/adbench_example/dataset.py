"""Drawn images: a grey plate with dots, some of which are missing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from adbench_harness.types import GOOD, Dataset, Sample, Split

Image = NDArray[np.uint8]
SIDE = 64
LEVELS = {"dark": 60, "bright": 220}
COUNTS: dict[tuple[Split, str], int] = {("train", GOOD): 8, ("test", GOOD): 6, ("test", "gap"): 6}


class Dots(Dataset):
    """Sixteen dots on a plate, dark or bright; a ``gap`` is a dot that is not there."""

    name: ClassVar[str] = "dots"
    summary: ClassVar[str] = "Drawn plates with dots, some missing."
    version: ClassVar[int] = 1
    license: ClassVar[str] = "CC0"

    def build(self, root: Path) -> Path:
        """Draw the images into ``root``, and return it."""
        for number, (category, level) in enumerate(LEVELS.items()):
            draw = np.random.default_rng(number)
            for sample in self.samples(root, category, 0):
                missing = int(draw.integers(16)) if sample.label else None
                image, mask = _plate(draw, level, missing)
                for path, pixels in ((sample.image, image), *((m, mask) for m in sample.masks)):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), pixels)
        return root

    def categories(self, root: Path) -> list[str]:
        return list(LEVELS)

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The official split, whatever the seed."""
        return [
            Sample(
                image=root / category / split / defect / f"{i}.png",
                split=split,
                label=int(defect != GOOD),
                masks=() if defect == GOOD else (root / category / "masks" / f"{i}.png",),
                defect=defect,
            )
            for (split, defect), count in COUNTS.items()
            for i in range(count)
        ]


def _plate(draw: np.random.Generator, level: int, missing: int | None) -> tuple[Image, Image]:
    image = draw.normal(128, 4, (SIDE, SIDE, 3)).round().astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for dot in range(16):
        centre = (8 + 16 * (dot % 4), 8 + 16 * (dot // 4))
        if dot == missing:
            cv2.circle(mask, centre, 5, 255, -1)
        else:
            cv2.circle(image, centre, 5, (level,) * 3, -1)
    return image, mask
