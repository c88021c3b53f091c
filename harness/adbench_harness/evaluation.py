"""A trial's scores beside the ground truth: all that a metric may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from adbench_harness.metrics.ranking import Ranking


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and truth of N test images; None where the scorer or the data set has none.

    ``labels`` int8 [N]: 0 normal, 1 anomalous, -1 unknown. ``scores`` float32 [N], higher is more
    anomalous. ``maps`` and ``masks``: float32 and bool [H, W] for each image whose truth by pixel
    is known. ``predicted`` and ``true``: int64 class indices [N] into ``classes``.
    """

    labels: NDArray[np.int8]
    scores: NDArray[np.float32] | None = None
    maps: Sequence[NDArray[np.float32]] | None = None
    masks: Sequence[NDArray[np.bool_]] | None = None
    predicted: NDArray[np.int64] | None = None
    true: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()

    def has(self, needs: str) -> bool:
        """Whether what a metric ``needs`` ("image", "map", "classes") is here."""
        present = {"image": self.scores, "map": self.maps, "classes": self.predicted}
        return present[needs] is not None

    @cached_property
    def images(self) -> Ranking:
        """The images in order of their scores; images of unknown label are left out."""
        from adbench_harness.metrics.ranking import Ranking  # its kernels take long to load

        assert self.scores is not None
        known = self.labels >= 0
        return Ranking.of_images(self.scores[known], self.labels[known] == 1)

    @cached_property
    def pixels(self) -> Ranking:
        """All pixels in order of their scores: one order serves every pixel metric."""
        from adbench_harness.metrics.ranking import Ranking

        assert self.maps is not None
        assert self.masks is not None
        return Ranking.of_pixels(self.maps, self.masks)
