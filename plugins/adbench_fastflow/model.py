"""FastFlow: a two-dimensional normalizing flow on each layer of a frozen network.

Yu et al., "FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing Flows",
arXiv 2111.07677. What the paper leaves open follows the re-implementation gathierry/FastFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.nn.flows import (
    Coupling,
    Flow,
    Grids,
    convolutions,
    negative_log_likelihood,
)
from adbench_harness.nn.grids import grids
from adbench_harness.nn.inputs import Aspect, Crop, Resize
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

CLAMP = 2.0
"""The logarithm of a coupling's scale is at most this."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 12, "batch": 8},
    "paper": {},
    "smoke": {"epochs": 4, "batch": 4, "steps": 2},
}


class FastFlow(Model):
    """The density of a frozen network's features, learned by one flow for each layer."""

    name: ClassVar[str] = "fastflow"
    summary: ClassVar[str] = "Convolutional normalizing flow on each layer of a frozen network."
    paper: ClassVar[str | None] = (
        "Yu et al., FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing "
        "Flows, arXiv 2111.07677"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Latents, LogDeterminants})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = {**PRESETS["smoke"], "resize": 64}

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=1, description="passes over the training images")] = 500,
        batch: BatchSize = 32,
        backbone: Annotated[str, "frozen network"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...], Field(min_length=1, description="its layers, one flow for each")
        ] = ("layer1", "layer2", "layer3"),
        steps: Annotated[int, Field(ge=1, description="couplings of each flow")] = 8,
        kernels: Annotated[
            Literal["alternate", "3x3"],
            "kernels of the couplings: 3x3 and 1x1 in turn (the paper's for Wide ResNet-50), or "
            "3x3 only (ResNet-18)",
        ] = "alternate",
        hidden_ratio: Annotated[
            float, Field(gt=0, description="hidden channels of a coupling, of those it sees")
        ] = 1.0,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 1e-3,
        weight_decay: Annotated[float, Field(ge=0, description="Adam's")] = 1e-5,
        resize: Resize = 256,
        crop: Crop = None,
        aspect: Aspect = "keep",
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.steps = steps
        self.kernels = (3, 1) if kernels == "alternate" else (3, 3)
        self.hidden_ratio = hidden_ratio
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> FastFlow:
        """Maximise the likelihood of the training images' features."""
        self.extract: Features = tools.features(self.feature_requests[0])
        self.channels = [grid.shape[1] for grid in self._grids(next(train.batches(1)))]
        self.rebuild({"channels": self.channels}, tools)

        def loss_of(batch: Batch) -> Tensor:
            return negative_log_likelihood(*self._latents(batch))

        train_epochs(
            loss_of,
            {"flows": self.flows},
            torch.optim.Adam(
                self.flows.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
            ),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The flows with their initial weights."""
        with drawn_from(tools.generator):
            flows = [self._flow(channels) for channels in state["channels"]]
        self.flows = nn.ModuleList(flows).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The latents [B, h, w, D] of each layer, and their log-determinants [B, h, w]."""
        latents, determinants = self._latents(batch)
        return Outputs(
            (batch.images.shape[2], batch.images.shape[3]),
            Latents(tuple(Level(z.permute(0, 2, 3, 1)) for z in latents)),
            LogDeterminants(tuple(map(Level, determinants))),
        )

    def _flow(self, channels: int) -> Flow:
        # A coupling sees half of the channels, one more than that if their number is odd.
        hidden = max(1, int(self.hidden_ratio * (channels - channels // 2)))
        return Flow(
            Coupling(channels, convolutions(hidden, self.kernels[step % 2]), CLAMP)
            for step in range(self.steps)
        )

    def _grids(self, batch: Batch) -> list[Tensor]:
        """The layers, each normalised over its channels and positions (LayerNorm)."""
        found = grids(self.extract, batch, self.feature_requests[0].layers)
        return [functional.layer_norm(grid, grid.shape[1:]) for grid in found]

    def _latents(self, batch: Batch) -> tuple[Grids, Grids]:
        """Latents [B, C, h, w] and log-determinants [B, h, w] of each layer."""
        found = [flow((grid,)) for flow, grid in zip(self.flows, self._grids(batch), strict=True)]
        return tuple(z for (z,), _ in found), tuple(d for _, (d,) in found)
