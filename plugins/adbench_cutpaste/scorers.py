"""The density of a Gaussian of normal images' embeddings."""

from __future__ import annotations

from typing import ClassVar

import torch

from adbench_harness.nn.gaussian import mahalanobis, shrunk_covariance
from adbench_harness.types import ImageEmbeddings, Outputs, Scorer, Scores, TrainOutputs


class ImageMahalanobis(Scorer):
    """An image's Mahalanobis distance to the Gaussian of the normal images' embeddings.

    It ranks images like the Gaussian's negative log-density.
    """

    name: ClassVar[str] = "image-mahalanobis"
    summary: ClassVar[str] = "Mahalanobis distance to the Gaussian of normal images' embeddings."
    paper: ClassVar[str | None] = (
        "Li et al., CutPaste: Self-Supervised Learning for Anomaly Detection and Localization, "
        "CVPR 2021"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({ImageEmbeddings})

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> None:
        """The mean [D] and the precision [D, D] of the normal embeddings."""
        vectors = torch.cat([output[ImageEmbeddings].values for output in outputs]).double()
        self.mean = vectors.mean(0)
        self.precision = torch.linalg.pinv(shrunk_covariance(vectors), hermitian=True)

    def score(self, outputs: Outputs) -> Scores:
        vectors = outputs[ImageEmbeddings].values.double()
        return Scores(image=mahalanobis(vectors, self.mean, self.precision).float())
