"""Low-pass filters of the bright background, so that dust on it does not count as an anomaly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adbench_harness.types import Preprocessor

Grey = NDArray[np.uint8]
Image = NDArray[np.uint8]

Size = Annotated[int, "side of the filter's window in px of the stored image"]
Level = Annotated[int, Field(ge=0, le=255)]
Threshold = Annotated[Level, "the background's darkest value of R, G and B"]
Upper = Annotated[Level, "the background's brightest value of R, G and B"]
Kernel = Annotated[
    int, Field(ge=1, le=255, description="side of the square that opens and closes the mask in px")
]
Order = Annotated[
    Literal["background-only", "literal"],
    "literal filters the whole image, so that the object's colours leak into the background",
]


class _BackgroundFilter(Preprocessor):
    """Converts the background to grey and filters it; the object is unchanged.

    ``sizes`` are the valid windows; any other raises ValueError.
    """

    paper: ClassVar[str | None] = (
        "Son, Kim, Kang, Lee, background-anomaly filtering and a kNN-averaged score for "
        "PatchCore, KAIST project report"
    )
    version: ClassVar[int] = 1
    sizes: ClassVar[Sequence[int]] = range(1, 256)

    def __init__(self, *, size: int, threshold: int, upper: int, kernel: int, order: str) -> None:
        if size not in self.sizes:
            some = ", ".join(map(str, self.sizes[:4]))
            raise ValueError(f"size must be one of {some} ... {self.sizes[-1]}, not {size}")
        if threshold > upper:
            raise ValueError(f"threshold {threshold} is above upper {upper}, so no pixel qualifies")
        self.size = size
        self.threshold = threshold
        self.upper = upper
        self.kernel = np.ones((kernel, kernel), np.uint8)
        self.order = order

    @abstractmethod
    def blur(self, grey: Grey) -> Grey:
        """The filtered image [H, W]."""

    def __call__(self, image: Image) -> Image:
        """``image`` with a grey, filtered background."""
        background = self.background(image)
        grey: Grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        if self.order == "background-only":
            grey = self._without_object(grey, background)
        return np.where(background[..., None], self.blur(grey)[..., None], image)

    def background(self, image: Image) -> NDArray[np.bool_]:
        """Where the background is, [H, W]: bright in R, G and B, opened, then closed."""
        mask = cv2.inRange(image, (self.threshold,) * 3, (self.upper,) * 3)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, self.kernel)
        return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, self.kernel) > 0

    def _without_object(self, grey: Grey, background: NDArray[np.bool_]) -> Grey:
        """``grey`` with the object replaced by the mean of the background around each pixel."""
        # An odd window covers every object pixel that the filter of a background pixel covers.
        window = (self.size // 2 * 2 + 1,) * 2
        known = background.astype(np.uint8)
        count, total = (
            cv2.boxFilter(plane, cv2.CV_64F, window, normalize=False)
            for plane in (known, grey * known)
        )
        mean = np.rint(total / np.maximum(count, 1)).astype(np.uint8)
        return np.where(background, grey, mean)


class MeanFilter(_BackgroundFilter):
    """The mean filter, the paper's best (11 x 11)."""

    name: ClassVar[str] = "mean"
    summary: ClassVar[str] = "Mean filter of the bright background."

    def __init__(
        self,
        *,
        size: Size = 11,
        threshold: Threshold = 150,
        upper: Upper = 255,
        kernel: Kernel = 5,
        order: Order = "background-only",
    ) -> None:
        super().__init__(size=size, threshold=threshold, upper=upper, kernel=kernel, order=order)

    def blur(self, grey: Grey) -> Grey:
        return np.asarray(cv2.blur(grey, (self.size, self.size)), np.uint8)


class MedianFilter(_BackgroundFilter):
    """The median filter; its window has a centre, so its sizes are odd."""

    name: ClassVar[str] = "median"
    summary: ClassVar[str] = "Median filter of the bright background."
    default: ClassVar[bool] = False
    sizes: ClassVar[Sequence[int]] = range(1, 256, 2)

    def __init__(
        self,
        *,
        size: Size = 5,
        threshold: Threshold = 150,
        upper: Upper = 255,
        kernel: Kernel = 5,
        order: Order = "background-only",
    ) -> None:
        super().__init__(size=size, threshold=threshold, upper=upper, kernel=kernel, order=order)

    def blur(self, grey: Grey) -> Grey:
        return np.asarray(cv2.medianBlur(grey, self.size), np.uint8)
