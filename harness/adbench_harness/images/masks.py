"""Masks: which pixels of an image are anomalous.

A mask has rules of its own, since its file may be a JPEG, have soft edges, or keep the shape in its
alpha channel. ``threshold`` is a data set's: a pixel above it is anomalous; None reads each mask
by its own values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.images import decoding
from adbench_harness.types import Sample

Mask = NDArray[np.bool_]
_WHITE = 255

PLAIN = ""
SOFT = "soft"
CLASSES = "classes"
ALPHA = "alpha"
RAISED = "raised"
ROUGH = "rough"
MEANINGS = {
    SOFT: "not two-level (JPEG or soft edges) and cut in the middle of {their} range",
    CLASSES: "of several classes, each of which counts as a defect",
    ALPHA: "in the alpha channel",
    RAISED: "two-level without the value 0; the higher level is the defect",
    ROUGH: "not two-level (JPEG or soft edges), and every value above 0 counts as a defect",
}
"""What each rule means, after "n masks are"; a plain mask has 0 and at most one other value."""
_FEW = 32
"""Values that span less are numbers of classes, not shades of grey."""
_SHADES = 8
"""Fewer are classes, as a data set with published classes has them."""
_PHOTOGRAPH = 0.25
"""With a larger share of pixels between black and white a file is no mask."""


class Region(NamedTuple):
    """The anomalous pixels of a mask, bool [H, W], and the rule by which they were found."""

    pixels: Mask
    rule: str


def union(sample: Sample, threshold: int | None, size: tuple[int, int]) -> Mask | None:
    """The union of the sample's masks, bool [H, W]; None where the truth by pixel is unknown."""
    return united(sample, threshold, size)[0]


def united(
    sample: Sample, threshold: int | None, size: tuple[int, int]
) -> tuple[Mask | None, tuple[str, ...]]:
    """As ``union``, with the rule of each mask."""
    if sample.label != 0 and not sample.masks:
        return None, ()
    found = read(sample, threshold, size)
    joined = np.zeros(size, dtype=bool)
    for region in found:
        joined |= region.pixels
    return joined, tuple(region.rule for region in found)


def regions(sample: Sample, threshold: int | None, size: tuple[int, int]) -> list[Mask]:
    """The sample's separate masks, each bool [H, W]; none of a normal sample."""
    return [region.pixels for region in read(sample, threshold, size)]


def read(sample: Sample, threshold: int | None, size: tuple[int, int]) -> list[Region]:
    """The sample's masks with their rules; ``size`` is its image's height and width in px.

    Raises UserError, naming the file, for a mask of another size, one that cannot be read in one
    way only, or one that is no mask.
    """
    if sample.label == 0 or not sample.masks:
        return []
    _, header = decoding.content(sample.image)
    return [
        _region(path, sample.image, header.orientation, threshold, size) for path in sample.masks
    ]


def marks(path: Path, threshold: int | None) -> bool:
    """Whether a mask marks any pixel; raises UserError if it cannot be read in one way only."""
    pixels, header = decoding.stored(path)
    values, _ = _values(path, pixels)
    cut = _cut(path, values, lossy=header.lossy)[0] if threshold is None else threshold
    return bool((values > cut).any())


def check_threshold(samples: Sequence[Sample], threshold: int) -> None:
    """Raise UserError, naming the file, for a mask of 8 bits whose values cannot exceed it."""
    if threshold < _WHITE:
        return
    for path in (path for sample in samples for path in sample.masks):
        if decoding.content(path)[1].bits == 8:
            raise UserError(
                f"mask_threshold={threshold}, but mask '{path}' holds 8 bits, which end at "
                f"{_WHITE}; name a lower one (folder:mask_threshold=127)"
            )


def _region(
    path: Path, image: Path, orientation: int, threshold: int | None, size: tuple[int, int]
) -> Region:
    pixels, header = decoding.stored(path)
    values, channel = _values(path, pixels)
    if threshold is None:
        cut, rule = _cut(path, values, lossy=header.lossy)
    else:
        cut, rule = threshold, ROUGH if threshold == 0 and _is_rough(values) else PLAIN
    turn = _turn(path, image, (header.orientation, orientation), values.shape, size)
    region = decoding.turned(values > cut, turn)
    if region.shape != size:
        height, width = region.shape
        raise UserError(
            f"mask '{path}': {width} x {height} px, but its image is {size[1]} x {size[0]} px; "
            "resize the mask"
        )
    return Region(np.ascontiguousarray(region), rule or channel)


def _turn(
    path: Path, image: Path, tags: tuple[int, int], shape: tuple[int, ...], size: tuple[int, int]
) -> int:
    """The orientation of a mask's stored pixels; ``tags`` are those of the mask and the image.

    If only the image has a tag, a mask that is not square tells by its size on which pixels it was
    drawn, if the image is turned by a quarter.
    """
    own, given = tags
    if own == given:
        return own
    if own == 1 and given >= 5 and size[0] != size[1]:
        return 1 if shape == size else given
    tagged, bare = (image, path) if own == 1 else (path, image)
    raise UserError(
        f"'{tagged}' has the EXIF orientation tag {max(tags) if own == 1 else own}, and '{bare}' "
        f"has {'none' if 1 in tags else given}: the mask may have been drawn on the image as it is "
        "stored or as it is shown; turn the pixels and remove the tag"
    )


def _values(path: Path, pixels: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """A mask as [H, W]: the brightest of its colors, or its alpha where the shape is there."""
    if pixels.ndim == 2:
        return pixels, PLAIN
    colors, alpha = pixels[:, :, :3], pixels[:, :, 3:]
    values = colors[:, :, 0]
    if (colors != colors[:, :, :1]).any():
        values = colors.max(axis=2)
        if values.min() == values.max():
            raise UserError(
                f"mask '{path}' has colors that are equally bright; make what is not a defect black"
            )
    if not alpha.size or alpha.min() == alpha.max():
        return values, PLAIN
    shape = alpha[:, :, 0]
    if values.min() == values.max():
        return shape, ALPHA
    if not np.array_equal(_above_middle(values), _above_middle(shape)):
        raise UserError(
            f"mask '{path}' shows one shape in its colors and another one in its alpha channel; "
            "keep one of them"
        )
    return values, PLAIN


def _above_middle(values: NDArray[Any]) -> Mask:
    above: Mask = values > (float(values.min()) + float(values.max())) / 2
    return above


def _cut(path: Path, values: NDArray[Any], *, lossy: bool) -> tuple[float, str]:
    """The value that no normal pixel exceeds, and the rule that found it."""
    if values.dtype not in (np.uint8, np.uint16):
        raise UserError(f"mask '{path}' holds values of type {values.dtype}; convert it to 8 bits")
    levels = np.flatnonzero(np.bincount(values.ravel()))
    low, high = int(levels[0]), int(levels[-1])
    if len(levels) == 1:
        return 0, PLAIN
    if lossy and high - low < _FEW:
        return high, SOFT  # the noise around black
    if len(levels) == 2:
        return low, RAISED if low else PLAIN
    between = _between(values, low, high)
    if not lossy and len(levels) < _SHADES and not between.any():
        dark = values <= (low + high) / 2
        if _is_flat(values, dark & (values > low)):
            raise UserError(
                f"mask '{path}' has the values {', '.join(map(str, levels))}: the dark ones may be "
                "a class or noise; declare from which on they are defects (folder:mask_threshold=N)"
            )
    if not lossy and (high - low < _FEW or _is_flat(values, between)):
        if low:
            raise UserError(
                f"mask '{path}' has the values {', '.join(map(str, levels[:5]))}"
                f"{', ...' if len(levels) > 5 else ''}, and none is 0; declare from which on they "
                "are defects (folder:mask_threshold=N)"
            )
        return 0, CLASSES
    if between.mean() > _PHOTOGRAPH:
        raise UserError(
            f"mask '{path}' has {len(levels)} shades of grey, most of them neither black nor "
            "white, as a photograph has; give its mask, or declare the shade above which a pixel "
            "is a defect (folder:mask_threshold=N)"
        )
    return (low + high) / 2, SOFT


def _is_rough(values: NDArray[Any]) -> bool:
    """Whether a mask that is cut above 0 has soft edges or the noise of a JPEG."""
    low, high = int(values.min()), int(values.max())
    shades = values[(values != low) & (values != high)]
    if len(np.unique(shades)) < _SHADES - 2:
        return False
    return not _is_flat(values, _between(values, low, high))


def _between(values: NDArray[Any], low: int, high: int) -> Mask:
    """The pixels that are neither nearly ``low`` nor nearly ``high``."""
    margin = (high - low) / 16
    between: Mask = (values > low + margin) & (values < high - margin)
    return between


def _is_flat(values: NDArray[Any], between: Mask) -> bool:
    """Whether most of the pixels between black and white lie in areas of one value.

    The areas of classes are flat; soft edges are not.
    """
    inner = between[1:, 1:]
    here = values[1:, 1:]
    flat = (here == values[:-1, 1:]) & (here == values[1:, :-1]) & (here == values[:-1, :-1])
    return bool(inner.any() and flat[inner].mean() > 0.5)
