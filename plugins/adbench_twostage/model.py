"""Segmentation of pseudo-anomalies in one stage or two.

Shah and Kim, 2022; what the paper leaves open follows the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.nn.inputs import Size
from adbench_harness.nn.ssim import Denominator, ssim
from adbench_harness.nn.stages import Completed, Loss, Restated, train_stages
from adbench_harness.nn.unet import Padding
from adbench_harness.types import (
    AnomalyMap,
    Augmented,
    Batch,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
    written,
)
from adbench_twostage.network import Segmenter
from adbench_twostage.refinement import TEST, TRAIN, Outlined, outlines, refined

EPOCHS = 4000
"""Passes over the training images in the authors' code."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "size": 128,
        "width": 16,
        "batch": 4,
        "steps": 300,
        "statistics": "normal",
        "padding": "replicate",
    },
    "paper": {},
    "smoke": {"size": 48, "width": 4, "batch": 2, "steps": 6},
}

Count = Annotated[int, Field(ge=1)]
Width = Annotated[Count, "channels of the first block"]
PerStep = Annotated[Count, "images per step"]
Steps = Annotated[Count | None, "steps per stage; none: 4000 passes over the training images"]
Rate = Annotated[float, Field(gt=0, description="Adam's learning rate")]
Statistics = Annotated[
    Literal["running", "normal"],
    "for batch normalisation: those of the last steps, or of the normal images at the end",
]
Border = Annotated[Padding, "padding beyond the image: zeros, or its outermost pixels"]
Precision = Annotated[
    Literal["float32", "bfloat16"], "of the layers during the training; bfloat16 is faster"
]
Similarity = Annotated[Denominator, "SSIM's denominator: the standard one, or the paper's"]


class Stage1(Model):
    """The coarse stage alone: images -> masks of pseudo-anomalies."""

    name: ClassVar[str] = "twostage-stage1"
    summary: ClassVar[str] = "Segmentation network trained on pseudo-anomalies."
    paper: ClassVar[str | None] = (
        "Shah, Kim, two-stage segmentation of Perlin and superpixel pseudo-anomalies, 2022"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})
    completed: ClassVar[Mapping[int, Completed]] = {}
    augmentation: Literal["required", "optional", "none"] = "required"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]
    xfail: ClassVar[Mapping[str, str]] = {
        "planted_blob_scores_above_normal": "the smoke preset's six steps are too few to learn"
    }

    def __init__(
        self,
        *,
        size: Size = 256,
        width: Width = 128,
        batch: PerStep = 1,
        steps: Steps = None,
        learning_rate: Rate = 1e-4,
        statistics: Statistics = "running",
        padding: Border = "zeros",
        ssim: Similarity = "standard",
        precision: Precision = "float32",
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        if any(side < 12 or side % 4 for side in self.input.size):
            raise ValueError(
                f"size must be a multiple of 4 px, at least 12, on both sides, not {written(size)}"
            )
        self.width = width
        self.batch = batch
        self.steps = steps
        self.learning_rate = learning_rate
        self.restate: Restated | None = "normal" if statistics == "normal" else None
        self.padding = padding
        self.ssim = ssim
        self.precision = precision

    @property
    def losses(self) -> Sequence[Loss]:
        """The loss of each stage."""
        return [self._coarse_loss]

    def fit(self, train: TrainSet, tools: Tools) -> Stage1:
        """Train every stage on pseudo-anomalies from the augmenter."""
        self.rebuild({}, tools)
        train_stages(
            self.stages,
            self.losses,
            train,
            tools,
            steps=self.steps or EPOCHS * len(train),
            batch=self.batch,
            optimiser=partial(torch.optim.Adam, lr=self.learning_rate),
            restate=self.restate,
            completed=self.completed,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The stages with their initial weights."""
        half = self.precision == "bfloat16"
        stages = [
            Segmenter(self.width, tools.generator, self.padding, half=half) for _ in self.losses
        ]
        self.stages = nn.ModuleList(stages).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The raw map [B, H, W] of each stage as a level."""
        size = (batch.images.shape[2], batch.images.shape[3])
        return Outputs(size, AnomalyMap((Level(self._coarse(batch.images)),)))

    def _coarse(self, images: Tensor) -> Tensor:
        """The first stage's maps [B, H, W] of RGB images."""
        maps: Tensor = self.stages[0](images.flip(1))
        return maps

    def _coarse_loss(self, _: Tensor, augmented: Augmented) -> Tensor:
        return self._loss(self._coarse(augmented.images), augmented.masks)

    def _loss(self, maps: Tensor, masks: Tensor) -> Tensor:
        """Mean squared error plus structural dissimilarity, eq. 1 to 3."""
        truth = masks.to(maps.dtype)
        similarity = ssim(maps[:, None], truth[:, None], self.ssim).mean()
        return functional.mse_loss(maps, truth) + 1 - similarity


class TwoStage(Stage1):
    """A second stage sees only the superpixels that the first one marked; the rest is black."""

    name: ClassVar[str] = "twostage"
    summary: ClassVar[str] = (
        "Two segmentation networks; the second sees superpixels that the first marked."
    )
    completed: ClassVar[Mapping[int, Completed]] = {1: Outlined.of}
    """SLIC takes longer than a step on a GPU."""

    def __init__(
        self,
        *,
        size: Size = 256,
        width: Width = 128,
        batch: PerStep = 1,
        steps: Steps = None,
        learning_rate: Rate = 1e-4,
        statistics: Statistics = "running",
        padding: Border = "zeros",
        ssim: Similarity = "standard",
        precision: Precision = "float32",
        stage2_loss: Annotated[
            Literal["both", "mse"],
            "loss of the second stage: as the first's, or the authors' code's",
        ] = "both",
    ) -> None:
        super().__init__(
            size=size,
            width=width,
            batch=batch,
            steps=steps,
            learning_rate=learning_rate,
            statistics=statistics,
            padding=padding,
            ssim=ssim,
            precision=precision,
        )
        self.stage2_loss = stage2_loss

    @property
    def losses(self) -> Sequence[Loss]:
        """The loss of each stage."""
        return [self._coarse_loss, self._fine_loss]

    def predict(self, batch: Batch) -> Outputs:
        """The raw maps [B, H, W] of both stages as levels; their mean ranks like their sum."""
        images = batch.images
        # One image at a time: products of a batch round differently, and a pixel on the other side
        # of a threshold would change a whole superpixel.
        coarse = torch.cat([self._coarse(image) for image in torch.split(images, 1)])
        fine = self._fine(refined(images, outlines(images), coarse, TEST))
        size = (images.shape[2], images.shape[3])
        return Outputs(size, AnomalyMap((Level(coarse), Level(fine))))

    def _fine(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stages[1](images.flip(1))
        return maps

    def _fine_loss(self, _: Tensor, augmented: Augmented) -> Tensor:
        assert isinstance(augmented, Outlined)
        with torch.no_grad():
            coarse = self._coarse(augmented.images)
        maps = self._fine(refined(augmented.images, augmented.labels, coarse, TRAIN))
        if self.stage2_loss == "mse":
            return functional.mse_loss(maps, augmented.masks.to(maps.dtype))
        return self._loss(maps, augmented.masks)
