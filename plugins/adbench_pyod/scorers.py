"""Scorers with PyOD's detectors, fitted on the embeddings of normal patches or images.

Zhao, Nasrullah, Li: PyOD: a Python toolbox for scalable outlier detection, JMLR 2019.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import (
    ImageEmbeddings,
    Level,
    Outputs,
    PatchEmbeddings,
    Scorer,
    Scores,
    TrainOutputs,
)

SEED: Final = 0
"""Seed of the subset and of random detectors, since a scorer gets no seed of the trial."""
Samples = Annotated[
    int, Field(ge=2, description="number of embeddings to fit the detector on, drawn uniformly")
]
Vectors = np.ndarray[Any, np.dtype[np.float32]]


class _PyOD(Scorer):
    """Base class of the scorers of one detector."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str | None]
    version: ClassVar[int] = 1
    xfail: ClassVar[Mapping[str, str]] = {
        "reload_predicts_the_same": "only pickle could store PyOD's detectors"
    }
    detector: ClassVar[tuple[str, str]]
    options: ClassVar[dict[str, Any]]

    def _fitted(self, vectors: Vectors) -> Any:
        module, name = self.detector
        made = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        return made(**self.options).fit(vectors)


class PatchDetector(_PyOD):
    """One detector per level; the map is the mean of their scores, smoothed.

    The image score is the map's maximum.
    """

    accepts: frozenset[type] = frozenset({PatchEmbeddings})

    def __init__(self, *, samples: Samples = 5000, sigma: Sigma = 4) -> None:
        self.samples = samples
        self.sigma = sigma

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> None:
        subsets: list[_Subset] = []
        for output in outputs:
            levels = output[PatchEmbeddings].levels
            subsets = subsets or [_Subset(self.samples) for _ in levels]
            for subset, level in zip(subsets, levels, strict=True):
                values = level.values.flatten(1, 2)
                if level.valid is not None:
                    values = values[:, level.valid.flatten()]
                subset.add(values.flatten(0, 1))
        self.detectors = [self._fitted(subset.vectors()) for subset in subsets]

    def score(self, outputs: Outputs) -> Scores:
        found = zip(outputs[PatchEmbeddings].levels, self.detectors, strict=True)
        levels = [replace(level, values=_scored(level, detector)) for level, detector in found]
        smooth = gaussian_blur(overlay(levels, outputs.input_size), self.sigma)
        return Scores(image=smooth.flatten(1).amax(1), map=smooth)


class ImageDetector(_PyOD):
    """A detector of whole images' embeddings."""

    accepts: frozenset[type] = frozenset({ImageEmbeddings})

    def __init__(self, *, samples: Samples = 5000) -> None:
        self.samples = samples

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> None:
        subset = _Subset(self.samples)
        for output in outputs:
            subset.add(output[ImageEmbeddings].values)
        self.fitted = self._fitted(subset.vectors())

    def score(self, outputs: Outputs) -> Scores:
        values = outputs[ImageEmbeddings].values
        found = [_decided(self.fitted, vector[None]) for vector in values]
        return Scores(image=torch.cat(found).to(values.device))


class _Subset:
    """A uniformly random subset of at most ``size`` of the added vectors."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._generator = torch.Generator().manual_seed(SEED)
        self._kept: list[Tensor] = []
        self._keys = torch.empty(0)

    def add(self, vectors: Tensor) -> None:
        keys = torch.cat([self._keys, torch.rand(len(vectors), generator=self._generator)])
        self._kept.append(vectors.float().cpu())
        if len(keys) > self._size:
            chosen = keys.topk(self._size).indices
            self._kept = [torch.cat(self._kept)[chosen]]
            keys = keys[chosen]
        self._keys = keys

    def vectors(self) -> Vectors:
        return torch.cat(self._kept).numpy()


def _scored(level: Level, detector: Any) -> Tensor:
    """Scores [B, h, w], one image at a time: ECOD and COPOD rank all given vectors together."""
    shape = level.values.shape[1:3]
    found = [_decided(detector, image.flatten(0, 1)).reshape(shape) for image in level.values]
    return torch.stack(found).to(level.values.device)


def _decided(detector: Any, vectors: Tensor) -> Tensor:
    """The detector's raw scores of vectors [N, D], higher for outliers, float32 [N]."""
    scores = detector.decision_function(vectors.float().cpu().numpy())
    return torch.from_numpy(np.asarray(scores, dtype=np.float32))


# Detector, its class in PyOD, its name in words, whether it is random, its paper.
_DETECTORS: Final[Sequence[tuple[str, str, str, bool, str]]] = (
    ("ecod", "ECOD", "empirical cumulative distributions", False, "Li et al., ECOD, TKDE 2022"),
    ("copod", "COPOD", "copulas", False, "Li et al., COPOD, ICDM 2020"),
    ("hbos", "HBOS", "histograms", False, "Goldstein, Dengel, HBOS, KI 2012"),
    (
        "iforest",
        "IForest",
        "isolation forest",
        True,
        "Liu, Ting, Zhou, Isolation forest, ICDM 2008",
    ),
    ("knn", "KNN", "distance to the fifth neighbour", False, "Ramaswamy et al., SIGMOD 2000"),
    ("lof", "LOF", "local outlier factor", False, "Breunig et al., LOF, SIGMOD 2000"),
    ("ocsvm", "OCSVM", "one-class SVM", False, "Schölkopf et al., Neural Computation 2001"),
    ("pca", "PCA", "principal components", True, "Shyu et al., ICDM workshops 2003"),
)


def _scorers(base: type[_PyOD], suffix: str, what: str) -> list[Any]:
    return [
        type(
            f"{base.__name__}{cls}",
            (base,),
            {
                "name": f"pyod-{module}{suffix}",
                "summary": f"Outlier score of {what}: {words} (PyOD's {cls}).",
                "paper": paper,
                "detector": (module, cls),
                "options": {"random_state": SEED} if draws else {},
                "__doc__": f"PyOD's {cls} on {what}.",
            },
        )
        for module, cls, words, draws, paper in _DETECTORS
    ]


SCORERS: Final = (
    *_scorers(PatchDetector, "", "patch embeddings"),
    *_scorers(ImageDetector, "-image", "image embeddings"),
)
