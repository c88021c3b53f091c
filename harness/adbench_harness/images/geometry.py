"""From an image to a model's input, and from a map back to the image."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from adbench_harness.errors import UserError
from adbench_harness.images.folders import workers
from adbench_harness.types import InputSpec

if TYPE_CHECKING:
    from adbench_harness.results.trial import EvaluationSettings

Image = NDArray[np.uint8]
MOST_RESIZED = 2**25
"""Pixels that an image may be resized to before the crop: 34 million, 403 MB as float32 RGB."""


def resized(spec: InputSpec, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) to which an image of ``size`` is scaled before the crop."""
    if not isinstance(spec.resize, int):
        return spec.resize
    if spec.aspect == "squash" or spec.crop is None:
        return spec.resize, spec.resize
    height, width = size
    scale = spec.resize / min(height, width)
    return round(height * scale), round(width * scale)


def check(path: Path, spec: InputSpec, size: tuple[int, int]) -> None:
    """Raise UserError for an image so long that its resized pixels would fill the memory."""
    height, width = resized(spec, size)
    if height * width > MOST_RESIZED:
        raise UserError(
            f"'{path}' has {size[1]} x {size[0]} px and would be resized to {width} x {height} px; "
            f"at most {MOST_RESIZED:,} px are made: cut it into tiles, or squash it (crop=none)"
        )


def window(spec: InputSpec, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rectangle (top, left, bottom, right) of the image, in its px, that the input shows.

    It is at least one pixel high and wide.
    """
    if spec.crop is None:
        return 0, 0, *size
    scaled = resized(spec, size)
    edges = []
    for side, part, whole in zip(scaled, spec.size, size, strict=True):
        start = (side - part) // 2
        first = min(round(start * whole / side), whole - 1)
        edges.append((first, max(first + 1, round((start + part) * whole / side))))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


def to_input(image: Image, spec: InputSpec) -> torch.Tensor:
    """The image as a model's input, uint8 [3, H, W], by antialiased bilinear resizing."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    scaled = resized(spec, image.shape[:2])
    if scaled != image.shape[:2]:
        pixels = functional.interpolate(pixels, scaled, mode="bilinear", antialias=True)
    if spec.crop is not None:
        pixels = cropped(pixels, spec.size)
    return pixels[0].contiguous()


def extra_to_input(values: NDArray[np.float32], spec: InputSpec) -> torch.Tensor:
    """A further image [H, W, C] as a model's input, float32 [C, H, W].

    Resizing takes the nearest value, since there may be no surface between two depths.
    """
    planes = torch.from_numpy(values).permute(2, 0, 1)[None]
    planes = functional.interpolate(planes, resized(spec, values.shape[:2]), mode="nearest-exact")
    return cropped(planes, spec.size)[0].contiguous()


def cropped(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The centre of [B, C, H, W]."""
    top, left = ((whole - side) // 2 for whole, side in zip(planes.shape[-2:], size, strict=True))
    return planes[..., top : top + size[0], left : left + size[1]]


def from_input(
    anomaly_map: NDArray[np.float32],
    spec: InputSpec,
    size: tuple[int, int],
    *,
    cropped: bool = False,
) -> NDArray[np.float32]:
    """A map over the input, resized to the image's ``size``.

    The border that the crop removed gets the map's minimum or, if ``cropped``, is left out.
    """
    top, left, bottom, right = window(spec, size)
    inner = cv2.resize(anomaly_map, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    if cropped or inner.shape == size:
        return np.asarray(inner, dtype=np.float32)
    whole = np.full(size, inner.min(), dtype=np.float32)
    whole[top:bottom, left:right] = inner
    return whole


def met(
    pairs: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_] | None]],
    spec: InputSpec,
    settings: EvaluationSettings,
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Maps and masks, each pair at one size; maps whose mask is None are left out."""

    def one(pair: tuple[Any, Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return meet(*pair, spec, settings)

    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(one, (pair for pair in pairs if pair[1] is not None)))


def meet(
    anomaly_map: NDArray[np.float32],
    truth: NDArray[np.bool_],
    spec: InputSpec,
    settings: EvaluationSettings,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A map and its mask at one size: the image's own, or the suite's ``settings.size``."""
    met = scored(truth, spec, settings)
    cropped = settings.border == "crop"
    placed: NDArray[Any] = from_input(anomaly_map, spec, truth.shape, cropped=cropped)
    if settings.size is not None:
        placed = cv2.resize(placed, met.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return placed, met


def scored(
    truth: NDArray[np.bool_], spec: InputSpec, settings: EvaluationSettings
) -> NDArray[np.bool_]:
    """A mask of the image's own size as metrics see it.

    Its size is ``settings.size``, and a border that is not evaluated is left out.
    """
    top, left, bottom, right = _kept(truth.shape, spec, settings)
    truth = truth[top:bottom, left:right]
    if settings.size is None:
        return truth
    scale = settings.size / max(truth.shape)
    smaller = (round(truth.shape[1] * scale), round(truth.shape[0] * scale))
    nearest = cv2.resize(truth.view(np.uint8), smaller, interpolation=cv2.INTER_NEAREST)
    return nearest.view(np.bool_)


def scored_px(size: tuple[int, int], spec: InputSpec, settings: EvaluationSettings) -> float:
    """The number of px of such a mask that correspond to one px of an image of ``size``."""
    if settings.size is None:
        return 1.0
    top, left, bottom, right = _kept(size, spec, settings)
    return (settings.size / max(bottom - top, right - left)) ** 2


def _kept(
    size: tuple[int, int], spec: InputSpec, settings: EvaluationSettings
) -> tuple[int, int, int, int]:
    """The rectangle of an image that is evaluated, in the form of ``window``."""
    return window(spec, size) if settings.border == "crop" else (0, 0, *size)
