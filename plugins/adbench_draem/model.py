"""DRAEM: reconstruct the image without its anomalies, then segment where the two differ.

Zavrtanik, Kristan, Skočaj, "DRÆM: A Discriminatively Trained Reconstruction Embedding for Surface
Anomaly Detection", ICCV 2021. What the paper leaves open follows the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_draem.network import HALVINGS, ReconstructAndSegment
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.rotation import rotated
from adbench_harness.nn.ssim import ssim
from adbench_harness.nn.sspcab import WEIGHT, prediction_errors
from adbench_harness.nn.stages import Restated, train_stages
from adbench_harness.nn.training import BatchSize, drawn_from
from adbench_harness.nn.unet import Padding, draw_weights
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

EPOCHS = 700
"""Passes over the training images in the paper."""
P_ROTATED = 0.3
"""Probability that a normal image is rotated before the augmenter gets it."""
FOCUS = 2
"""The focal loss's gamma."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "size": 128,
        "width": 16,
        "batch": 4,
        "steps": 600,
        "learning_rate": 5e-3,
        "statistics": "augmented",
        "padding": "replicate",
    },
    "paper": {},
    "smoke": {"size": 64, "width": 4, "batch": 2, "steps": 6},
}


class DRAEM(Model):
    """The probability that a pixel is anomalous, from an image and its reconstruction."""

    name: ClassVar[str] = "draem"
    summary: ClassVar[str] = "Segments where an image differs from its reconstruction."
    paper: ClassVar[str | None] = (
        "Zavrtanik, Kristan, Skočaj, DRÆM: A Discriminatively Trained Reconstruction Embedding for "
        "Surface Anomaly Detection, ICCV 2021"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})
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
        width: Annotated[
            int,
            Field(ge=2, multiple_of=2, description="channels of the reconstruction's first level"),
        ] = 128,
        batch: BatchSize = 8,
        steps: Annotated[
            int | None,
            Field(ge=1, description="steps of training; none: 700 passes over the images"),
        ] = None,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 1e-4,
        rotation: Annotated[
            float,
            Field(ge=0, le=180, description="maximum rotation of normal images in degrees"),
        ] = 90,
        statistics: Annotated[
            Literal["running", "augmented"],
            "for batch normalisation: those of the last steps, or of all images at the end",
        ] = "running",
        padding: Annotated[
            Padding, "padding beyond the image: zeros, or its outermost pixels"
        ] = "zeros",
        sspcab: Annotated[
            bool, "whether an SSPCAB replaces the reconstruction's last convolution but one"
        ] = False,
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        cell = 2**HALVINGS
        if any(side % cell or side == cell for side in self.input.size):
            raise ValueError(
                f"size must be a multiple of {cell} px, at least {2 * cell}, on both sides, not "
                f"{written(size)}"
            )
        self.width = width
        self.batch = batch
        self.steps = steps
        self.learning_rate = learning_rate
        self.rotation = rotation
        self.restate: Restated | None = "augmented" if statistics == "augmented" else None
        self.padding = padding
        self.sspcab = sspcab

    def fit(self, train: TrainSet, tools: Tools) -> DRAEM:
        """Train both networks together on the augmenter's pseudo-anomalies."""
        self.rebuild({}, tools)
        train_stages(
            nn.ModuleList([self.network]),
            [self._loss],
            train,
            tools,
            steps=self.steps or EPOCHS * -(-len(train) // self.batch),
            batch=self.batch,
            optimiser=partial(torch.optim.Adam, lr=self.learning_rate),
            restate=self.restate,
            prepared=self._turned if self.rotation else None,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The networks with their initial weights."""
        with drawn_from(tools.generator):
            network = ReconstructAndSegment(self.width, self.padding, self.sspcab)
        draw_weights(network, tools.generator)
        self.network = network.to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The probability [B, H, W] that a pixel is anomalous."""
        height, width = batch.images.shape[2:]
        _, logits = self.network(batch.images)
        return Outputs((height, width), AnomalyMap((Level(logits.softmax(1)[:, 1]),)))

    def _turned(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Some of the normal images rotated."""
        drawn = torch.rand(2, len(images), generator=generator)
        degrees = self.rotation * (2 * drawn[1] - 1)
        chosen = (drawn[0] < P_ROTATED).to(images.device)
        return torch.where(chosen[:, None, None, None], rotated(images, degrees), images)

    def _loss(self, clean: Tensor, augmented: Augmented) -> Tensor:
        """Squared difference and SSIM of the reconstruction, and the masks' focal loss."""
        with prediction_errors(self.network) as errors:
            rebuilt, logits = self.network(augmented.images)
        squared = functional.mse_loss(rebuilt, clean)
        dissimilar = 1 - ssim(rebuilt, clean).mean()
        loss = squared + dissimilar + focal_loss(logits, augmented.masks)
        return loss + WEIGHT * sum(errors, loss.new_zeros(()))


def focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -(1 - p)^2 log p over pixels, where p is the probability of the right class.

    Logits [B, 2, H, W], masks bool [B, H, W]. Lin et al., ICCV 2017.
    """
    negative = functional.cross_entropy(logits, masks.long(), reduction="none")
    return ((1 - (-negative).exp()) ** FOCUS * negative).mean()
