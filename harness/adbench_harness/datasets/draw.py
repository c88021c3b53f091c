"""Splits drawn from a seed; they are the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from adbench_harness.images.folders import relative
from adbench_harness.types import Sample


def drawn(names: Iterable[str], seed: int | str) -> list[str]:
    """The distinct ``names`` in an order that depends on nothing but them and ``seed``.

    They are sorted by the SHA-256 of ``<seed>:<name>``, so that the order depends on no library's
    random numbers, and a new name does not change the order of the others.
    """
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def group(root: Path, sample: Sample) -> str:
    """The name of what stays in one split with ``sample``: its group, or else its own image."""
    return sample.group or relative(root, sample.image)


def normals(root: Path, samples: Sequence[Sample], seed: int, share: float) -> list[Sample]:
    """The samples with ``share`` of the normal test images moved to train, whole groups at a time.

    A group that shows a defect stays in test.
    """
    defective = {group(root, sample) for sample in samples if sample.label != 0}
    names = drawn({group(root, s) for s in samples if s.split == "test"} - defective, seed)
    train = set(names[: round(share * len(names))])
    return [
        replace(sample, split="train") if group(root, sample) in train else sample
        for sample in samples
    ]


def classification(
    root: Path, samples: Sequence[Sample], seed: int, share: float = 2 / 3
) -> list[Sample]:
    """The samples with ``share`` of each defect type moved to train, whole groups at a time.

    Normal training images stay in train. All test images are defective, since the task is to tell
    which defect an image shows.
    """

    kept = [sample for sample in samples if sample.split != "test" and not sample.label]
    defective = [sample for sample in samples if sample.label]
    # A group that shows several defect types counts as one of the type that is first by name.
    last_first = sorted(defective, key=lambda sample: sample.defect, reverse=True)
    defects = {group(root, sample): sample.defect for sample in last_first}
    learned: set[str] = set()
    for defect in set(defects.values()):
        names = drawn((name for name in defects if defects[name] == defect), seed)
        learned.update(names[: round(share * len(names))])
    return kept + [
        replace(sample, split="train" if group(root, sample) in learned else "test")
        for sample in defective
    ]
