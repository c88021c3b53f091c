"""A preprocessor: equalises the local contrast of an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import cv2
import numpy as np
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Preprocessor
from numpy.typing import NDArray
from pydantic import Field


class Template(Preprocessor):
    """Contrast-limited adaptive histogram equalisation of the lightness."""

    name = "template"
    summary = "Equalises the local contrast of the lightness."
    version = 1

    def __init__(
        self,
        *,
        limit: Annotated[float, Field(gt=0, description="contrast limit; higher is stronger")] = 2,
        tiles: Annotated[int, Field(ge=1, description="tiles per side")] = 8,
    ) -> None:
        self.limit = limit
        self.tiles = tiles

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 RGB [H, W, 3] -> the same shape and type."""
        equalise = cv2.createCLAHE(self.limit, (self.tiles, self.tiles))
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        lab[..., 0] = equalise.apply(np.ascontiguousarray(lab[..., 0]))
        return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


@hookimpl
def adbench_preprocessors() -> Iterable[type[Preprocessor]]:
    return [Template]
