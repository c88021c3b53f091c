"""How the files of a category are read, and what a reader should know of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adbench_harness.errors import UserError, printable
from adbench_harness.images import decoding, folders, masks
from adbench_harness.images.folders import Contents
from adbench_harness.types import Dataset, Sample, Split
from adbench_harness.wording import counted

STRIP = 20
"""An image that is so many times as long as wide is named."""
DARK = 16
"""Images of 8 bits whose values all are less are nearly black."""
DEPTHS = (8, 10, 12, 14, 16)
"""Numbers of bits that cameras deliver."""
LEAKS: tuple[tuple[Split, Split], ...] = (
    ("test", "train"),
    ("validation", "train"),
    ("test", "validation"),
)
"""Splits whose images must not be among those of another one."""


def settled(dataset: Dataset, root: Path, samples: Sequence[Sample]) -> list[Sample]:
    """The samples with the depth of their values and the rules of their masks.

    Raises UserError where the files do not go together, or a mask cannot be read.
    """
    files = folders.contents(root, samples)
    depth = _depth(dataset, samples, files)
    if depth != 8:
        samples = [replace(sample, depth=depth) for sample in samples]
    if dataset.mask_threshold is not None:
        masks.check_threshold(samples, dataset.mask_threshold)
        return list(samples)
    with ThreadPoolExecutor(folders.workers()) as pool:
        return list(pool.map(_with_rules, samples, files))


def each_alone(root: Path, samples: Sequence[Sample]) -> list[Sample]:
    """The samples with a depth that holds the values of any file, where ``settled`` refuses."""
    files = folders.contents(root, samples)
    return [
        replace(sample, depth=16) if file.header and file.header.bits > 8 else sample
        for sample, file in zip(samples, files, strict=True)
    ]


def _depth(dataset: Dataset, samples: Sequence[Sample], files: Sequence[Contents]) -> int:
    """Bits of the values: declared, or as few as hold those of the normal training images.

    Test images must not decide how images are read.
    """
    known = [(s, f.header.bits) for s, f in zip(samples, files, strict=True) if f.header]
    deep = [sample for sample, bits in known if bits > 8]
    shallow = [sample for sample, bits in known if bits == 8]
    if not deep:
        if dataset.depth not in (None, 8) and shallow:
            raise UserError(
                f"depth={dataset.depth}, but '{shallow[0].image}' holds 8 bits; leave the depth out"
            )
        return 8
    if dataset.depth is not None:
        depth = dataset.depth
    else:
        train = [sample.image for sample in deep if sample.split == "train" and not sample.label]
        if not train and shallow:
            raise UserError(_mixed(deep, shallow))
        if not train:
            raise UserError(
                f"'{deep[0].image}' stores 16 bits, and there are no training images that tell how "
                "many of them are used; declare it (folder:depth=12)"
            )
        with ThreadPoolExecutor(folders.workers()) as pool:
            highest = max(pool.map(lambda path: _highest(path, path.stat().st_mtime_ns), train))
        depth = next(bits for bits in DEPTHS if highest < 2**bits)
    if depth != 8 and shallow:
        raise UserError(_mixed(deep, shallow))
    return depth


def _mixed(deep: Sequence[Sample], shallow: Sequence[Sample]) -> str:
    """That images of both depths are in the data set, and which ones are fewer."""
    odd, bits, others = (deep, 16, 8) if len(deep) <= len(shallow) else (shallow, 8, 16)
    more = ", and so on" if len(odd) > 1 else ""
    return (
        f"{len(odd)} of {len(deep) + len(shallow)} images {'store' if more else 'stores'} {bits} "
        f"bits, and the others {others} ('{odd[0].image}'{more}); convert all images of the data "
        "set to one format"
    )


@lru_cache(maxsize=2**17)
def _highest(path: Path, _changed: int) -> int:
    """The largest value of an image of 16 bits."""
    return decoding.highest(decoding.stored(path)[0], path)


def _with_rules(sample: Sample, files: Contents) -> Sample:
    found = _truth(sample, files)
    return replace(sample, mask_rules=found.rules) if found and any(found.rules) else sample


class _Truth(NamedTuple):
    """The rules of a sample's masks, and the share of the pixels that they mark."""

    rules: tuple[str, ...]
    share: float


def _truth(sample: Sample, files: Contents) -> _Truth | None:
    if not sample.masks or sample.label == 0 or files.header is None:
        return None
    size = (files.header.height, files.header.width)
    if files.header.orientation >= 5:
        size = size[::-1]
    changed = tuple(path.stat().st_mtime_ns for path in (sample.image, *sample.masks))
    return _read(replace(sample, mask_rules=()), size, changed)


@lru_cache(maxsize=2**17)
def _read(sample: Sample, size: tuple[int, int], _changed: object) -> _Truth:
    marked, rules = masks.united(sample, None, size)
    return _Truth(rules, float(np.mean(marked)) if marked is not None else 0.0)


def contradicted(truth: Mapping[Path, Sequence[Path]], threshold: int | None) -> Iterator[str]:
    """How many normal images have a mask that marks pixels; ``truth`` has the masks by image."""

    def marked(paths: Sequence[Path]) -> bool:
        return any(_marks(path, threshold, path.stat().st_mtime_ns) for path in paths)

    with ThreadPoolExecutor(folders.workers()) as pool:
        marking = pool.map(marked, truth.values())
    found = [image for image, marks in zip(truth, marking, strict=True) if marks]
    if found:
        images = "normal image has" if len(found) == 1 else "normal images have"
        yield (
            f"{len(found)} {images} a mask that marks a defect; it is not used, so correct the "
            f"label or the mask: {named(found)}"
        )


@lru_cache(maxsize=2**17)
def _marks(path: Path, threshold: int | None, _changed: int) -> bool:
    return masks.marks(path, threshold)


def notes(root: Path, samples: Sequence[Sample]) -> Iterator[str]:
    """What a reader should know of a category's files, a sentence each."""
    yield from _depths(samples)
    yield from _rules_said(samples)
    yield from _doubled(samples)
    yield from _shared(samples)
    yield from _transparent(samples, folders.contents(root, samples))
    yield from _strips(samples, folders.contents(root, samples))
    yield from _copies(root, samples)
    yield from _unlabelled(samples)


def unused(samples: Sequence[Sample]) -> Iterator[str]:
    """The defective images that no model sees unless the protocol is classification."""
    left = sum(sample.split != "test" and sample.label == 1 for sample in samples)
    if left:
        images = "1 defective image" if left == 1 else f"{left} defective images"
        yield f"{images} outside of the test split {'is' if left == 1 else 'are'} not used"


def _unlabelled(samples: Sequence[Sample]) -> Iterator[str]:
    """Test images without a label among others that have one, and those in other splits."""
    if learned := [s.image for s in samples if s.split != "test" and s.label is None]:
        yield (
            f"{counted(len(learned), 'image')} outside of the test split "
            f"{'has' if len(learned) == 1 else 'have'} no label and count as normal: "
            f"{named(learned)}"
        )
    test = [sample for sample in samples if sample.split == "test"]
    bare = [sample.image for sample in test if sample.label is None]
    if bare and len(bare) < len(test):
        yield (
            f"{len(bare)} of {len(test)} test images have no label: they are scored, but no metric "
            f"uses them: {named(bare)}"
        )


def _strips(samples: Sequence[Sample], files: Sequence[Contents]) -> Iterator[str]:
    """Images of an extreme shape, which an input without a crop squashes to a square."""
    strips = [
        sample.image
        for sample, file in zip(samples, files, strict=True)
        if (header := file.header)
        and max(header.height, header.width) > STRIP * min(header.height, header.width)
    ]
    if strips:
        yield (
            f"{len(strips)} of {len(samples)} images are more than {STRIP} times as long as wide, "
            f"and a model's input may squash them: {named(strips)}"
        )


def _transparent(samples: Sequence[Sample], files: Sequence[Contents]) -> Iterator[str]:
    """Images with pixels that are not opaque, whose colors no viewer shows as they are stored."""
    images = [s.image for s, f in zip(samples, files, strict=True) if f.header and f.header.alpha]
    with ThreadPoolExecutor(folders.workers()) as pool:
        clear = pool.map(lambda path: _is_transparent(path, path.stat().st_mtime_ns), images)
    if found := [image for image, its in zip(images, clear, strict=True) if its]:
        one = len(found) == 1
        yield (
            f"{counted(len(found), 'image')} of {len(samples)} {'has' if one else 'have'} "
            f"transparent pixels, which are read with the colors stored there: {named(found)}"
        )


@lru_cache(maxsize=2**17)
def _is_transparent(path: Path, _changed: int) -> bool:
    try:
        values, _ = decoding.stored(path)
    except UserError:  # a trial that needs the image fails and says it
        return False
    if values.ndim != 3 or values.shape[2] != 4:
        return False
    return bool((values[:, :, 3] < np.iinfo(values.dtype).max).any())


def _depths(samples: Sequence[Sample]) -> Iterator[str]:
    depth = max((sample.depth for sample in samples), default=8)
    if depth != 8:
        yield f"images are read with {depth} bits: 0 is black and {2**depth - 1} is white"


def _rules_said(samples: Sequence[Sample]) -> Iterator[str]:
    yield from ruled({sample.masks: sample.mask_rules for sample in samples if sample.label})


def ruled(rules: Mapping[tuple[Path, ...], tuple[str, ...]]) -> Iterator[str]:
    """How many masks are read by a rule that is not the plain one; ``rules`` by samples' masks."""
    found = [one for paths, its in rules.items() for one in zip(paths, its, strict=False)]
    total = sum(map(len, rules))
    for rule, meaning in masks.MEANINGS.items():
        paths = [path for path, its in found if its == rule]
        if paths:
            one = len(paths) == 1
            meaning = meaning.format(their="its" if one else "their")
            yield (
                f"{len(paths)} of {total} masks {'is' if one else 'are'} {meaning}: {named(paths)}"
            )


def _doubled(samples: Sequence[Sample]) -> Iterator[str]:
    """Images that have a mask of their own name and another one, with ``_mask`` in its name."""
    found = []
    for sample in samples:
        names = {path.with_suffix("").as_posix(): path for path in sample.masks}
        pairs = [
            (path, names[f"{name}_mask"]) for name, path in names.items() if f"{name}_mask" in names
        ]
        if any(one.read_bytes() != other.read_bytes() for one, other in pairs):
            found.append(sample.image)
    if found:
        images = "1 image has" if len(found) == 1 else f"{len(found)} images have"
        yield (
            f"{images} two masks that differ, with and without _mask in their names, and both "
            f"count: {named(found)}"
        )


def _shared(samples: Sequence[Sample]) -> Iterator[str]:
    """Images with the mask of another one, as by a mistake in a table."""
    count = Counter(path for sample in samples if sample.label for path in sample.masks)
    found = [sample.image for sample in samples if any(count[path] > 1 for path in sample.masks)]
    if found:
        yield f"{counted(len(found), 'image')} share a mask with another one: {named(found)}"


def dark(highest: int) -> Iterator[str]:
    """That images are nearly black; ``highest`` is the largest value of all, of 8 bits."""
    if highest < DARK:
        yield (
            f"all images are nearly black: their values end at {highest} of 255; if they are "
            "fractions or numbers of classes, scale them"
        )


def _copies(root: Path, samples: Sequence[Sample]) -> Iterator[str]:
    """Images whose bytes are those of an image of another split, or of another test image."""
    keys = _keys(root, samples)
    for new, old in LEAKS:
        own = [sample.image for sample in samples if sample.split == new]
        known: dict[object, Path] = {}
        for sample in samples:
            if sample.split == old:
                known.setdefault(keys[sample.image], sample.image)
        pairs = [(path, known[keys[path]]) for path in own if keys[path] in known]
        if pairs := _equal(pairs):
            yield (
                f"{len(pairs)} of {len(own)} {new} images are copies of {kind(old)} images: "
                f"{_pairs(root, pairs)}"
            )
    test = [sample for sample in samples if sample.split == "test"]
    tested: dict[object, Sample] = {}
    repeated: list[tuple[Path, Path]] = []
    contradictions: list[tuple[Path, Path]] = []
    for sample in test:
        other = tested.setdefault(keys[sample.image], sample)
        if other is not sample:
            differ = other.label != sample.label and None not in (other.label, sample.label)
            (contradictions if differ else repeated).append((sample.image, other.image))
    if repeated := _equal(repeated):
        yield (
            f"{len(repeated)} of {len(test)} test images are copies of other test images: "
            f"{_pairs(root, repeated)}"
        )
    if contradictions := _equal(contradictions):
        yield (
            f"{counted(len(contradictions), 'test image')} "
            f"{'has' if len(contradictions) == 1 else 'have'} the bytes of another one with "
            f"another label: {_pairs(root, contradictions)}"
        )


def same_pixels(root: Path, samples: Sequence[Sample], digests: Sequence[int]) -> Iterator[str]:
    """Images with the pixels of one of another split or of test, in a file with other bytes.

    Images with different ``digests`` are known to differ and are not decoded.
    """
    keys = _keys(root, samples)
    digest_of = {sample.image: digest for sample, digest in zip(samples, digests, strict=True)}

    @cache
    def pixels(path: Path, depth: int) -> object:
        image = decoding.decode(path, depth)
        return image.shape, hashlib.sha256(image.tobytes()).digest()

    for new, old in LEAKS:
        own = [sample for sample in samples if sample.split == new]
        others = [sample for sample in samples if sample.split == old]
        copied = {keys[sample.image] for sample in others}
        shared = {digest_of[s.image] for s in own} & {digest_of[s.image] for s in others}
        known: dict[object, Path] = {}
        for sample in others:
            if digest_of[sample.image] in shared:
                known.setdefault(pixels(sample.image, sample.depth), sample.image)
        pairs = [
            (sample.image, known[same])
            for sample in own
            if digest_of[sample.image] in shared
            and keys[sample.image] not in copied  # copies are noted before a run
            and (same := pixels(sample.image, sample.depth)) in known
        ]
        if pairs:
            yield (
                f"{len(pairs)} of {len(own)} {new} images have the pixels of {kind(old)} images: "
                f"{_pairs(root, pairs)}"
            )
    test = [sample for sample in samples if sample.split == "test"]
    count = Counter(digest_of[sample.image] for sample in test)
    first: dict[object, Path] = {}
    pairs = []
    for sample in test:
        if count[digest_of[sample.image]] > 1:
            other = first.setdefault(pixels(sample.image, sample.depth), sample.image)
            if keys[other] != keys[sample.image]:
                pairs.append((sample.image, other))
    if pairs:
        yield (
            f"{len(pairs)} of {len(test)} test images have the pixels of other test images: "
            f"{_pairs(root, pairs)}"
        )


def _keys(root: Path, samples: Sequence[Sample]) -> dict[Path, tuple[int, int]]:
    """The size and the checksum of each image's file."""
    return {
        sample.image: (sample.image.stat().st_size, file.checksum)
        for sample, file in zip(samples, folders.contents(root, samples), strict=True)
    }


def kind(split: Split) -> str:
    """A split's name before the word "images"."""
    return "training" if split == "train" else split


def _equal(pairs: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """The pairs of files that are equal, and not only in their size and checksum."""
    return [(new, old) for new, old in pairs if new.read_bytes() == old.read_bytes()]


def _pairs(root: Path, pairs: Sequence[tuple[Path, Path]]) -> str:
    """The first of some pairs of equal files."""
    new, old = pairs[0]
    more = ", and so on" if len(pairs) > 1 else ""
    return f"{folders.relative(root, new)} is {folders.relative(root, old)}{more}"


def absent(samples: Sequence[Sample]) -> Iterator[str]:
    """Which metrics cannot be had of the test images, and why."""
    test = [sample for sample in samples if sample.split == "test"]
    labels = {sample.label for sample in test}
    defective = [sample for sample in test if sample.label]
    if labels == {None}:
        yield "the test images have no labels: there are scores, but no metric can be computed"
    elif not defective:
        yield (
            "no anomalous test image: metrics that compare normal with anomalous images or pixels "
            "(image AUROC, pixel AP, AUPRO) cannot be computed"
        )
    elif 0 not in labels:
        yield ("no normal test image: metrics that compare images (image AUROC) cannot be computed")
    bare = Counter(sample.defect for sample in defective if not sample.masks)
    if bare and sum(bare.values()) == len(defective):
        yield "no masks: metrics of pixels (pixel AP, AUPRO) cannot be computed"
    elif bare:
        counts = ", ".join(f"{count} of {defect}" for defect, count in sorted(bare.items()))
        yield f"anomalous test images without a mask are left out of pixel metrics: {counts}"


def shares(root: Path, samples: Sequence[Sample]) -> dict[Path, float]:
    """The share of pixels that the masks of each anomalous test image mark by their own rules."""
    found = {
        sample.image: _truth(sample, files)
        for sample, files in zip(samples, folders.contents(root, samples), strict=True)
        if sample.split == "test" and sample.label
    }
    return {image: truth.share for image, truth in found.items() if truth}


def covered(shares: Mapping[Path, float], empty: int) -> list[str]:
    """What is odd about the truth by pixel of anomalous images, as shares of their pixels.

    ``empty`` masks are published.
    """
    nothing = [path for path, share in shares.items() if not share]
    most = [path for path, share in shares.items() if share > 0.5]
    found = []
    if nothing and len(nothing) != empty:
        found.append(
            f"{len(nothing)} of {len(shares)} anomalous images "
            f"{'has' if len(nothing) == 1 else 'have'} a mask that marks nothing: "
            f"{named(nothing)}"
        )
    if most:
        found.append(
            f"{len(most)} of {len(shares)} anomalous images {'has' if len(most) == 1 else 'have'} "
            "a mask that covers more than half of the image (if masks are inverted, invert them): "
            f"{named(most)}"
        )
    return found


def named(paths: Sequence[Path], shown: int = 2) -> str:
    """The first of some files, by their last two folders, and how many more there are."""
    texts = [printable("/".join(path.parts[-3:])) for path in paths[:shown]]
    more = len(paths) - shown
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")
