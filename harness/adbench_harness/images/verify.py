"""Checks whether a downloaded data set is complete and readable."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from adbench_harness.downloads import checksums
from adbench_harness.errors import UserError
from adbench_harness.images import decoding, folders
from adbench_harness.types import Dataset, Sample


@dataclass(frozen=True)
class Findings:
    """The numbers of checked images and masks, and a line for each thing that is wrong.

    ``empty`` counts anomalous images whose masks mark no pixel.
    """

    images: int = 0
    masks: int = 0
    empty: int = 0
    wrong: tuple[str, ...] = ()


def category(dataset: Dataset, root: Path, name: str) -> Findings:
    """Decode every image and mask of a category; compare sizes, and counts with published ones."""
    try:
        samples = dataset.samples(root, name, 0)
    except UserError as error:
        return Findings(wrong=(str(error),))
    with ThreadPoolExecutor(folders.workers()) as pool:
        looked = list(pool.map(lambda sample: _look(sample, dataset.mask_threshold), samples))
    wrong = [reason for _, reason in looked if reason]
    # A drawn split has the published counts whatever the seed.
    if difference := dataset.departure(name, samples):
        wrong.insert(0, difference)
    masks = sum(len(sample.masks) for sample in samples)
    return Findings(len(samples), masks, sum(empty for empty, _ in looked), tuple(wrong))


def missing(dataset: Dataset, categories: Sequence[str]) -> list[str]:
    """The published categories that are not among ``categories``."""
    return [name for name in dataset.published() if name not in categories]


def files(root: Path) -> Findings:
    """Compare the files below ``root`` with their checksums, if it was unpacked with any."""
    try:
        sums = checksums.read(root)
    except UserError as error:
        return Findings(wrong=(str(error),))
    return Findings(images=len(sums), wrong=tuple(checksums.differences(root, sums)))


def _look(sample: Sample, threshold: int) -> tuple[bool, str | None]:
    """Whether the sample's masks are empty, and what is wrong with it."""
    try:
        for path in (sample.image, *sample.masks):
            _load(path)
        height, width, _ = decoding.decode(sample.image).shape
        truth = decoding.mask(sample, threshold, (height, width))
        for path in sample.extras.values():
            decoding.extra(path)
    except UserError as error:
        return False, str(error)
    return bool(sample.masks and truth is not None and not truth.any()), None


def _load(path: Path) -> None:
    # Pillow reports a truncated file; OpenCV, which runs use, fills it up with grey.
    try:
        with PIL.Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"'{path}' cannot be decoded as an image: {error}") from None
