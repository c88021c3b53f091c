"""Anomaly maps as a result stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.types import InputSpec


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a trial's test images, in their order, over the input rectangle of ``spec``.

    ``values`` are the scores, float32 [N, h, w], unchanged: with fewer bits, a heavy tail would
    leave one step for all other scores.
    """

    values: NDArray[np.float32]
    spec: InputSpec


def encode(maps: Maps) -> dict[str, NDArray[Any]]:
    """The arrays of a file of maps.

    ``input`` has the height and width of ``resize`` (width 0: ``resize`` is a single number, the
    height), those of the crop (0: no crop), and whether the aspect is squashed.
    """
    spec = maps.spec
    resize = (spec.resize, 0) if isinstance(spec.resize, int) else spec.resize
    crop = (0, 0) if spec.crop is None else spec.size
    return {
        "map": maps.values,
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
    return Maps(arrays["map"], spec)
