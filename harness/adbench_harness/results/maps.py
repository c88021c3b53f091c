"""Anomaly maps as a result stores them: with 16 bits, on one linear scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.types import InputSpec

_TOP = 65535


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a trial's test images, in their order, over the input rectangle of ``spec``.

    ``steps`` uint16 [N, h, w] go from 0, which is the score ``low``, to 65535, which is ``high``.
    """

    steps: NDArray[np.uint16]
    low: np.float32
    high: np.float32
    spec: InputSpec

    @staticmethod
    def of(values: NDArray[np.float32], spec: InputSpec) -> Maps:
        """Scores [N, h, w], rounded to the steps between the lowest and the highest of them."""
        low, high = float(values.min()), float(values.max())
        steps = np.round((values - low) / ((high - low) or 1.0) * _TOP).astype(np.uint16)
        return Maps(steps, np.float32(low), np.float32(high), spec)

    @property
    def values(self) -> NDArray[np.float32]:
        """The scores, float32 [N, h, w]."""
        return self.low + self.steps * (self.high - self.low) / np.float32(_TOP)


def encode(maps: Maps) -> dict[str, NDArray[Any]]:
    """The arrays of a file of maps.

    ``input`` has the height and width of ``resize`` (width 0: ``resize`` is a single number, the
    height), those of the crop (0: no crop), and whether the aspect is squashed.
    """
    spec = maps.spec
    resize = (spec.resize, 0) if isinstance(spec.resize, int) else spec.resize
    crop = (0, 0) if spec.crop is None else spec.size
    return {
        "map": maps.steps,
        "low": np.array(maps.low),
        "high": np.array(maps.high),
        "input": np.array([*resize, *crop, spec.aspect == "squash"]),
    }


def decode(arrays: Mapping[str, NDArray[Any]]) -> Maps:
    """The inverse of ``encode``."""
    height, width, *crop, squash = arrays["input"].tolist()
    spec = InputSpec(
        (height, width) if width else height,
        (crop[0], crop[1]) if any(crop) else None,
        "squash" if squash else "keep",
    )
    return Maps(arrays["map"], np.float32(arrays["low"]), np.float32(arrays["high"]), spec)
