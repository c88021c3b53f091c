"""Checks whether a downloaded data set is complete and readable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from adbench_harness.downloads import checksums
from adbench_harness.errors import UserError
from adbench_harness.images import decoding, folders, masks, survey
from adbench_harness.types import Dataset, Sample
from adbench_harness.wording import counted

ALIKE = 24
"""Two images look the same if at most so many of the 1024 bits of their hashes differ."""
_SIDE = 32


@dataclass(frozen=True)
class Findings:
    """The checked samples, the numbers of files, and a line for each thing that is wrong.

    ``empty`` counts anomalous images whose masks mark no pixel. ``low`` and ``high`` are the least
    and the greatest value of the images, in their files' values. ``notes`` are what a reader should
    know, but is not wrong.
    """

    samples: tuple[Sample, ...] = ()
    files: int = 0
    masks: int = 0
    empty: int = 0
    low: int = 0
    high: int = 0
    notes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


class _Look(NamedTuple):
    """What a sample's files show; ``share`` is that of the anomalous pixels, if it is known."""

    low: int
    high: int
    bits: NDArray[np.uint8]
    share: float | None
    rules: tuple[str, ...]


def category(dataset: Dataset, root: Path, name: str) -> Findings:
    """Decode every image and mask of a category; compare sizes, and counts with published ones."""
    wrong: list[str] = []
    try:
        samples = list(dataset.samples(root, name, 0))
        notes = list(dataset.notes(root, name, samples))
    except UserError as error:
        return Findings(wrong=(str(error),))
    # A drawn split has the published counts whatever the seed.
    if difference := dataset.departure(name, samples):
        wrong.append(difference)
    settled, unsettled = samples, ""
    try:
        settled = survey.settled(dataset, root, samples)
        notes += survey.notes(root, settled)
        notes += [*survey.unused(samples), *survey.absent(settled)]
    except UserError as error:
        unsettled = str(error)
        settled = survey.each_alone(root, samples)

    def look(sample: Sample) -> _Look | str:
        try:
            return _look(sample, dataset.mask_threshold)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(folders.workers()) as pool:
        looks = list(pool.map(look, settled))
    each = list(zip(settled, looks, strict=True))
    wrong += _reasons(each)
    if unsettled and unsettled not in looks:
        wrong.append(unsettled)
    seen = [(sample, one) for sample, one in each if isinstance(one, _Look)]
    empty = sum(one.share == 0 for _, one in seen)
    shares = {sample.image: one.share for sample, one in seen if one.share is not None}
    notes += survey.covered(shares, dataset.empty_masks.get(name, 0))
    if dataset.mask_threshold is not None:  # otherwise they are among the survey's
        notes += survey.ruled({s.masks: one.rules for s, one in seen if s.masks})
    if seen and all(sample.depth == 8 for sample, _ in seen):
        notes += survey.dark(max(one.high for _, one in seen))
    notes += _alike(root, seen)
    return Findings(
        tuple(samples),
        len(samples),
        sum(len(sample.masks) for sample in samples),
        empty,
        min((one.low for _, one in seen), default=0),
        max((one.high for _, one in seen), default=0),
        tuple(notes),
        tuple(wrong),
    )


def _reasons(looks: Sequence[tuple[Sample, _Look | str]]) -> list[str]:
    """What is wrong with each sample, or once, with the first one, if all have the same fault."""
    found, general = [], set()
    for sample, reason in looks:
        if isinstance(reason, str):
            found.append(reason)
            for path in (sample.image, *sample.masks, *sample.extras.values()):
                reason = reason.replace(str(path), "")
            general.add(reason)
    if len(general) == 1 and 1 < len(found) == len(looks):
        return [f"{found[0]} (the same holds for {counted(len(found) - 1, 'more image')})"]
    return found


def missing(dataset: Dataset, categories: Sequence[str]) -> list[str]:
    """The published categories that are not among ``categories``."""
    return [name for name in dataset.published() if name not in categories]


def files(root: Path) -> Findings:
    """Compare the files below ``root`` with their checksums, if it was unpacked with any."""
    try:
        sums = checksums.read(root)
    except UserError as error:
        return Findings(wrong=(str(error),))
    return Findings(files=len(sums), wrong=tuple(checksums.differences(root, sums)))


def _look(sample: Sample, threshold: int | None) -> _Look:
    """Decode a sample's files; raises UserError for what is wrong with them."""
    values, header = decoding.stored(sample.image)
    image = decoding.decode(sample.image, sample.depth)
    truth, rules = masks.united(sample, threshold, image.shape[:2])
    for path in sample.extras.values():
        decoding.extra(path)
    known = truth is not None and sample.label
    share = float(np.mean(truth)) if known and truth is not None else None
    low, high = (int(values.min()), int(values.max())) if header.bits > 8 else _range(image)
    return _Look(low, high, _hash(image), share, rules)


def _range(image: NDArray[np.uint8]) -> tuple[int, int]:
    return int(image.min()), int(image.max())


def _hash(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1024 bits, each for whether the image grows brighter to the right in one of 32 x 32 cells."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1])


def _alike(root: Path, seen: Sequence[tuple[Sample, _Look]]) -> Iterator[str]:
    """Images that look like one of another split, to the last detail, without being its copy."""
    for new, old in survey.LEAKS:
        known = [(sample, one.bits) for sample, one in seen if sample.split == old]
        if not known:
            continue
        hashes = np.stack([bits for _, bits in known])
        pairs = []
        for sample, one in seen:
            if sample.split == new:
                differing = np.bitwise_count(hashes ^ one.bits).sum(axis=1)
                nearest = int(differing.argmin())
                if differing[nearest] <= ALIKE:
                    pairs.append((sample.image, known[nearest][0].image))
        pairs = [(path, other) for path, other in pairs if path.read_bytes() != other.read_bytes()]
        if pairs:
            first, second = (folders.relative(root, path) for path in pairs[0])
            images = "image looks" if len(pairs) == 1 else "images look"
            yield (
                f"{len(pairs)} {new} {images} like {survey.kind(old)} images: {first} like {second}"
            )
