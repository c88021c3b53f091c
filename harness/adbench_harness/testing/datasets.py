"""Data sets list samples that are there."""

from __future__ import annotations

import re
from typing import Any

from adbench_harness.errors import UserError
from adbench_harness.images import folders
from adbench_harness.testing.common import (
    Check,
    Skipped,
    make,
)
from adbench_harness.types import (
    Sample,
)


def _samples(component: Any) -> list[Sample]:
    dataset = make(component)
    try:
        root = folders.locate(dataset, None, {})
    except UserError as error:
        raise Skipped(str(error)) from None
    return [s for category in dataset.categories(root) for s in dataset.samples(root, category, 0)]


def _lists_samples(component: Any) -> None:
    samples = _samples(component)
    splits = {"train", "test"} if component.role == "benchmark" else {"train"}
    assert {sample.split for sample in samples} >= splits
    assert len({sample.image for sample in samples}) == len(samples), "an image is listed twice"
    for sample in samples:
        assert sample.image.is_file(), f"{sample.image} is no file"
        assert all(mask.is_file() for mask in sample.masks)
        assert sample.label in (0, 1, None)
        assert sample.label == 1 or not sample.masks, f"{sample.image}: masks, but not anomalous"


def _lists_the_same_twice(component: Any) -> None:
    assert _samples(component) == _samples(component)


def _says_where_it_comes_from(component: Any) -> None:
    for archive in component.archives:
        assert archive.name, f"{archive}: its file has no name"
        assert archive.url or component.page, f"{archive}: neither url nor page"
        for digest, digits in ((archive.sha256, 64), (archive.md5, 32)):
            assert digest is None or re.fullmatch(f"[0-9a-f]{{{digits}}}", digest), digest


def _publishes_counts(component: Any) -> None:
    dataset = make(component)
    if not dataset.published():
        raise Skipped("publishes no counts")
    published = dataset.published()
    assert published
    assert all(isinstance(images, int) and images > 0 for images in published.values())
    assert set(dataset.empty_masks) <= set(published)


CHECKS: dict[str, Check] = {
    "lists_samples": _lists_samples,
    "lists_the_same_twice": _lists_the_same_twice,
    "says_where_it_comes_from": _says_where_it_comes_from,
    "publishes_counts": _publishes_counts,
}
