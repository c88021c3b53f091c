"""CS-Flow: one flow of a layer's grids at three input sizes, whose couplings combine the sizes.

Rudolph, Wehrbein, Rosenhahn, Wandt, "Fully Convolutional Cross-Scale-Flows for Image-based Defect
Detection", WACV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.flows import Coupling, CrossScale, Flow, Grids, negative_log_likelihood
from adbench_harness.nn.grids import grids
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.training import BatchSize, drawn_from, train_epochs
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Latents,
    Level,
    LogDeterminants,
    Model,
    Outputs,
    Tools,
    TrainSet,
)

CLAMP = 3.0
"""The logarithm of a coupling's scale is at most this."""
SCALES = (1, 2, 4)
"""The sides of the input are divided by these."""
KERNELS = (3, 3, 3, 5)
"""Side of the convolutions of each coupling."""
CLIP = 1.0
"""Maximum norm of the gradients."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"size": 256, "epochs": 16, "batch": 4, "hidden": 64},
    "paper": {},
    "smoke": {"size": 128, "epochs": 6, "batch": 4, "hidden": 16},
}


class CSFlow(Model):
    """The joint density of the grids of a layer at three scales of the image."""

    name: ClassVar[str] = "csflow"
    summary: ClassVar[str] = "Normalizing flow of a layer at three input sizes, across the sizes."
    paper: ClassVar[str | None] = (
        "Rudolph et al., Fully Convolutional Cross-Scale-Flows for Image-based Defect Detection, "
        "WACV 2022"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Latents, LogDeterminants})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=1, description="passes over the training images")] = 240,
        batch: BatchSize = 16,
        backbone: Annotated[str, "frozen network"] = "efficientnet_b5",
        layer: Annotated[
            str | None,
            "its layer; none: the paper's, features.6, of an EfficientNet-B5, else layer3",
        ] = None,
        hidden: Annotated[
            int, Field(ge=1, description="hidden channels of a coupling's subnetwork")
        ] = 1024,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 2e-4,
        weight_decay: Annotated[float, Field(ge=0, description="Adam's")] = 1e-5,
        size: Size = 768,
    ) -> None:
        self.layer = layer or ("features.6" if backbone == "efficientnet_b5" else "layer3")
        self.epochs = epochs
        self.batch = batch
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.input = InputSpec(size, None, "squash")
        height, width = self.input.size
        self.feature_requests = tuple(
            FeatureRequest(
                backbone,
                (self.layer,),
                InputSpec((height // scale, width // scale), None, "squash"),
            )
            for scale in SCALES
        )

    def fit(self, train: TrainSet, tools: Tools) -> CSFlow:
        """Maximise the likelihood of the training images' grids."""
        self.extract: list[Features] = [tools.features(r) for r in self.feature_requests]
        self.channels = self._grids(next(train.batches(1)))[0].shape[1]
        self.rebuild({"channels": self.channels}, tools)

        def loss_of(batch: Batch) -> Tensor:
            return negative_log_likelihood(*self.flow(self._grids(batch))) / self.channels

        train_epochs(
            loss_of,
            {"flow": self.flow},
            torch.optim.Adam(
                self.flow.parameters(),
                lr=self.learning_rate,
                eps=1e-4,
                weight_decay=self.weight_decay,
            ),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
            clip=CLIP,
        )
        return self

    def chosen(self) -> Mapping[str, str | int | float]:
        """The layer."""
        return {"layer": self.layer}

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The flow with its initial weights."""
        with drawn_from(tools.generator):
            self.flow = self._flow(state["channels"]).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The latents [B, h, w, D] at each scale, and their log-determinants [B, h, w]."""
        latents, determinants = self.flow(self._grids(batch))
        return Outputs(
            (batch.images.shape[2], batch.images.shape[3]),
            Latents(tuple(Level(z.permute(0, 2, 3, 1)) for z in latents)),
            LogDeterminants(tuple(map(Level, determinants))),
        )

    def _flow(self, channels: int) -> Flow:
        return Flow(
            Coupling(
                channels,
                partial(CrossScale, len(SCALES), hidden=self.hidden, kernel=kernel),
                CLAMP,
                both=True,
            )
            for kernel in KERNELS
        )

    def _grids(self, batch: Batch) -> Grids:
        """The layer [B, C, h, w] at each scale."""
        return tuple(grids(extract, batch, (self.layer,))[0] for extract in self.extract)
