"""Data sets list samples whose files exist."""

from __future__ import annotations

import re
from typing import Any

from adbench_harness.errors import UserError
from adbench_harness.images import folders
from adbench_harness.planning.samples import everything
from adbench_harness.testing.common import Check, Skipped, make
from adbench_harness.types import Sample


def _samples(component: Any) -> list[Sample]:
    dataset = make(component)
    try:
        root = folders.locate(dataset, None, {})
    except UserError as error:
        raise Skipped(str(error)) from None
    return everything(dataset, root)


def _lists_samples(component: Any) -> None:
    samples = _samples(component)
    splits = {"train", "test"} if component.role == "benchmark" else {"train"}
    if missing := splits - {sample.split for sample in samples}:
        raise AssertionError(
            f"no sample of {len(samples)} has split {' or '.join(sorted(missing))}"
        )
    images = {sample.image for sample in samples}
    assert len(images) == len(samples), f"{len(samples)} samples list {len(images)} images"
    for sample in samples:
        for path in (sample.image, *sample.masks, *sample.extras.values()):
            assert path.is_file(), f"{path} is not a file"
        assert sample.label in (0, 1, None), f"{sample.image} has label {sample.label!r}"
        assert sample.label == 1 or not sample.masks, (
            f"{sample.image} has label {sample.label}, but {len(sample.masks)} masks"
        )


def _lists_the_same_twice(component: Any) -> None:
    pairs = zip(_samples(component), _samples(component), strict=True)
    for first, again in pairs:
        assert first == again, f"{first} became {again}"


def _says_where_it_comes_from(component: Any) -> None:
    for archive in component.archives:
        assert archive.name, f"{archive} has no file name"
        assert archive.url or component.page, f"{archive} has no url, and its data set has no page"
        for digest, digits in ((archive.sha256, 64), (archive.md5, 32)):
            assert digest is None or re.fullmatch(f"[0-9a-f]{{{digits}}}", digest), (
                f"{archive.name}: '{digest}' is not a checksum of {digits} hexadecimal digits"
            )


def _publishes_counts(component: Any) -> None:
    dataset = make(component)
    published = dataset.published()
    if not published:
        raise Skipped("it publishes no counts")
    for category, images in published.items():
        assert isinstance(images, int), f"{category}: {images!r} is not a number of images"
        assert images > 0, f"{category}: the number of images is {images}, not positive"
    unknown = sorted(set(dataset.empty_masks) - set(published))
    assert not unknown, f"empty_masks contains {', '.join(unknown)}, but published() does not"


CHECKS: dict[str, Check] = {
    "lists_samples": _lists_samples,
    "lists_the_same_twice": _lists_the_same_twice,
    "says_where_it_comes_from": _says_where_it_comes_from,
    "publishes_counts": _publishes_counts,
}
