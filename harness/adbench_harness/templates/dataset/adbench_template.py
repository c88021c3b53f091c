"""A data set: drawn plates with stripes, some of them scratched.

To provide your own images instead, remove ``build`` and name the downloads in ``archives`` (or
leave it empty, so that users name the folder with ``--data``). If the images do not have the layout
of MVTec AD, list the files under ``root`` in ``samples``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from adbench_harness.datasets import layout
from adbench_harness.errors import UserError
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import GOOD, Dataset, Sample
from numpy.typing import NDArray

SIDE = 64
COUNTS = {"train/good": 12, "test/good": 8, "test/scratch": 8}
STRIPES = {"fine": 4, "coarse": 10}
NEXT_STEP = "name another folder with --data template=DIR"


class Template(Dataset):
    """Two categories in the layout of MVTec AD: ``<category>/<split>/<defect>/<number>.png``."""

    name = "template"
    summary = "Drawn plates with stripes, some scratched."
    version = 1
    license = "CC0-1.0"

    def build(self, root: Path) -> Path:
        """Draw the images under ``root``, and return it."""
        for number, (category, period) in enumerate(STRIPES.items()):
            draws = np.random.default_rng(number)
            for place, count in COUNTS.items():
                for index in range(count):
                    plate, scratch = _plate(draws, period)
                    _write(root / category / place / f"{index:03}.png", plate, scratch)
        return root

    def categories(self, root: Path) -> list[str]:
        """The categories that have a folder in ``root``."""
        found = [folder.name for folder in layout.folders(root)]
        if not found:
            raise UserError(f"'{root}' has no categories; {NEXT_STEP}")
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples of the only split; ``split_seed`` has no effect."""
        return layout.samples(root / category, NEXT_STEP)


def _plate(draws: np.random.Generator, period: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A grey plate [SIDE, SIDE] with stripes, and the mask of a scratch (255)."""
    stripes = 128 + 40 * np.sin(2 * np.pi * np.arange(SIDE) / period)
    plate = (stripes + draws.normal(0, 4, (SIDE, SIDE))).round().astype(np.uint8)
    scratch = np.zeros((SIDE, SIDE), np.uint8)
    start, end = draws.integers(8, SIDE - 8, (2, 2)).tolist()
    cv2.line(scratch, start, end, 255, 2)
    return plate, scratch


def _write(path: Path, plate: NDArray[np.uint8], scratch: NDArray[np.uint8]) -> None:
    files: list[tuple[Path, NDArray[np.uint8]]] = [(path, plate)]
    if path.parent.name != GOOD:
        mask = path.parents[2] / "ground_truth" / path.parent.name / path.name
        files = [(path, np.where(scratch > 0, np.uint8(230), plate)), (mask, scratch)]
    for file, pixels in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), pixels)


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    return [Template]
