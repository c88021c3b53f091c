"""A scorer: an image's score is the mean score of its worst patches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from adbench_harness.hookspecs import hookimpl
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.patch_scores import MatchedPatches, score_patches
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings, Scorer, Scores
from pydantic import Field
from torch import Tensor


class Template(Scorer):
    """Distance to the nearest bank vector; the image score is the mean over the worst patches."""

    name = "template"
    summary = "Distance to the nearest bank vector, averaged over the worst patches."
    version = 1
    accepts = frozenset({PatchEmbeddings, PatchBank})

    def __init__(
        self,
        *,
        worst: Annotated[int, Field(ge=1, description="patches to average")] = 5,
        sigma: Annotated[float, Field(ge=0, description="smoothing of the map in input px")] = 4,
    ) -> None:
        self.worst = worst
        self.sigma = sigma

    def score(self, outputs: Outputs) -> Scores:
        """Image scores [B] and maps [B, H, W]."""
        return score_patches(outputs, self._score_level, self.sigma)

    def _score_level(self, level: Level, bank: Neighbours) -> tuple[Tensor, Tensor]:
        """Patch scores [B, h, w] and image scores [B] of one level."""
        patches = MatchedPatches(level, bank, "euclidean")
        distances = patches.grid(patches.distances)
        pixels = distances.flatten(1)
        worst = pixels.topk(min(self.worst, pixels.shape[1])).values
        return distances, worst.mean(1)


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    return [Template]
