"""Scorers that use a model's output directly: its anomaly map, image score or defect logits."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.types import AnomalyMap, DefectLogits, ImageScore, Outputs, Scorer, Scores


class MapScorer(Scorer):
    """The model's anomaly map; the image score is computed from it.

    ``pool`` "top" is the mean of the highest ``share`` of the pixels (at least one);
    "mean-pooled-max" the maximum after 21 x 21 mean pooling with stride 1, the border padded with
    the image's minimum (zero in the papers, whose maps are probabilities).
    """

    name: ClassVar[str] = "map"
    summary: ClassVar[str] = "The model's own anomaly map; the image score is pooled from it."
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({AnomalyMap})

    def __init__(
        self,
        *,
        combine: Annotated[Literal["mean", "max"], "how levels are combined into one map"] = "mean",
        sigma: Annotated[
            float, Field(ge=0, description="Gaussian smoothing in input px; 0 for none")
        ] = 0,
        pool: Annotated[
            Literal["max", "mean", "top", "mean-pooled-max"], "how the image score is computed"
        ] = "max",
        share: Annotated[
            float, Field(gt=0, le=1, description="fraction of the pixels that 'top' averages")
        ] = 0.01,
    ) -> None:
        self.combine = combine
        self.sigma = sigma
        self.pool = pool
        self.share = share

    def score(self, outputs: Outputs) -> Scores:
        merged = overlay(outputs[AnomalyMap].levels, outputs.input_size, self.combine)
        smooth = gaussian_blur(merged, self.sigma)
        return Scores(image=self._pooled(smooth), map=smooth)

    def _pooled(self, maps: Tensor) -> Tensor:
        """[B, H, W] -> [B]."""
        pixels = maps.flatten(1)
        match self.pool:
            case "mean":
                return pixels.mean(1)
            case "top":
                return pixels.topk(max(1, round(self.share * pixels.shape[1]))).values.mean(1)
            case "mean-pooled-max":
                # Zeros beyond the border would be the maximum of a negative map (log-likelihoods).
                lowest = pixels.amin(1)
                above = maps - lowest[:, None, None]
                means = functional.avg_pool2d(above, 21, stride=1, padding=10)
                return means.flatten(1).amax(1) + lowest
        return pixels.amax(1)


class OwnScorer(Scorer):
    """The model's own image score."""

    name: ClassVar[str] = "own"
    summary: ClassVar[str] = "The model's own image score."
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({ImageScore})

    def score(self, outputs: Outputs) -> Scores:
        return Scores(image=outputs[ImageScore].values)


class SoftmaxScorer(Scorer):
    """Class probabilities from defect logits."""

    name: ClassVar[str] = "softmax"
    summary: ClassVar[str] = "Class probabilities: the softmax of the model's defect logits."
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({DefectLogits})

    def score(self, outputs: Outputs) -> Scores:
        logits = outputs[DefectLogits]
        return Scores(classes=logits.values.softmax(1), class_names=logits.classes)
