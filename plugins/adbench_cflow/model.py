"""CFLOW-AD: flows of feature vectors, conditioned on the vectors' positions.

Gudovskiy, Ishizaka, Kozuka, "CFLOW-AD: Real-Time Unsupervised Anomaly Detection with Localization
via Conditional Normalizing Flows", WACV 2022. What the paper leaves open follows the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.nn.flows import Coupling, Flow, log_likelihood, perceptron
from adbench_harness.nn.grids import grids
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.positions import sinusoids
from adbench_harness.nn.rotation import rotated
from adbench_harness.nn.training import drawn_from, train_epochs
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

CLAMP = 1.9
"""The logarithm of a coupling's scale is at most this."""
WARM_UP = 2 / 25
"""Part of the training in which the learning rate rises, from a tenth."""
LOWEST = 1e-3
"""The learning rate at the end of the cosine, relative to the highest."""
MOST = 2**16
"""Vectors that go through a flow at once in ``predict``, which limits its memory."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 3, "rotation": 0},
    "paper": {},
    "smoke": {"epochs": 4, "batch": 4, "couplings": 2, "rotation": 0},
}


class CFlow(Model):
    """The density of a frozen network's feature vectors, given their positions."""

    name: ClassVar[str] = "cflow"
    summary: ClassVar[str] = "Normalizing flow of feature vectors, conditioned on their positions."
    paper: ClassVar[str | None] = (
        "Gudovskiy et al., CFLOW-AD: Real-Time Unsupervised Anomaly Detection with Localization "
        "via Conditional Normalizing Flows, WACV 2022"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Latents, LogDeterminants})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = {**PRESETS["smoke"], "resize": 64}

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=1, description="passes over the training images")] = 200,
        batch: Annotated[int, Field(ge=1, description="images whose vectors are mixed")] = 32,
        vectors: Annotated[int, Field(ge=1, description="feature vectors per step")] = 256,
        backbone: Annotated[str, "frozen network"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...], Field(min_length=1, description="its layers, one flow for each")
        ] = ("layer2", "layer3", "layer4"),
        couplings: Annotated[int, Field(ge=1, description="couplings of each flow")] = 8,
        positions: Annotated[
            int, Field(ge=4, multiple_of=4, description="channels that encode a position")
        ] = 128,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's, at its highest")] = 2e-4,
        rotation: Annotated[
            float, Field(ge=0, description="maximum rotation of training images in degrees")
        ] = 5,
        resize: Resize = 256,
        crop: Crop = None,
        aspect: Aspect = "keep",
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.vectors = vectors
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.couplings = couplings
        self.positions = positions
        self.learning_rate = learning_rate
        self.rotation = rotation
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> CFlow:
        """Maximise the likelihood of the training images' feature vectors."""
        self.extract: Features = tools.features(self.feature_requests[0])
        self.channels = [grid.shape[1] for grid in self._grids(next(train.batches(1)))]
        self.rebuild({"channels": self.channels}, tools)

        def losses_of(batch: Batch) -> Iterator[Tensor]:
            found = self._grids(self._rotated(batch, tools.generator))
            for flow, grid in zip(self.flows, found, strict=True):
                vectors, conditions = _flat(grid), self._conditions(grid)
                order = torch.randperm(len(vectors), generator=tools.generator).to(grid.device)
                # The rest that does not fill a step is left out, except if it is all there is.
                steps = order[: max(1, len(order) // self.vectors) * self.vectors]
                for some in torch.split(steps, self.vectors):
                    (latents,), (determinants,) = flow((vectors[some],), (conditions[some],))
                    likelihood = log_likelihood(latents, determinants) / vectors.shape[1]
                    yield -functional.logsigmoid(likelihood).mean()

        train_epochs(
            losses_of,
            {"flows": self.flows},
            torch.optim.Adam(self.flows.parameters(), lr=self.learning_rate),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
            rate=lambda done: schedule(done / self.epochs),
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The flows with their initial weights."""
        with drawn_from(tools.generator):
            flows = [self._flow(channels) for channels in state["channels"]]
        self.flows = nn.ModuleList(flows).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The latents [B, h, w, D] of each layer, and their log-determinants [B, h, w]."""
        latents, determinants = [], []
        for flow, grid in zip(self.flows, self._grids(batch), strict=True):
            images, _, height, width = grid.shape
            parts = (torch.split(values, MOST) for values in (_flat(grid), self._conditions(grid)))
            pairs = zip(*parts, strict=True)
            found = [flow((vectors,), (conditions,)) for vectors, conditions in pairs]
            z = torch.cat([z for (z,), _ in found]).view(images, height, width, -1)
            latents.append(Level(z))
            determinant = torch.cat([determinant for _, (determinant,) in found])
            determinants.append(Level(determinant.view(images, height, width)))
        size = (batch.images.shape[2], batch.images.shape[3])
        return Outputs(size, Latents(tuple(latents)), LogDeterminants(tuple(determinants)))

    def _flow(self, channels: int) -> Flow:
        def network(inputs: int, outputs: int) -> nn.Module:
            return perceptron(2 * inputs)(inputs, outputs)

        return Flow(
            Coupling(channels, network, CLAMP, conditions=self.positions)
            for _ in range(self.couplings)
        )

    def _grids(self, batch: Batch) -> list[Tensor]:
        return grids(self.extract, batch, self.feature_requests[0].layers)

    def _conditions(self, grid: Tensor) -> Tensor:
        """The codes [B * h * w, positions] of the positions of a grid [B, C, h, w]."""
        images, _, height, width = grid.shape
        codes = sinusoids(self.positions, (height, width)).to(grid.device)
        return _flat(codes.expand(images, -1, -1, -1))

    def _rotated(self, batch: Batch, generator: torch.Generator) -> Batch:
        if not self.rotation:
            return batch
        degrees = self.rotation * (2 * torch.rand(len(batch), generator=generator) - 1)
        return replace(batch, images=rotated(batch.images, degrees), handles=None)


def schedule(done: float) -> float:
    """The factor of the learning rate after a part ``done`` of the training."""
    if done < WARM_UP:
        return 0.1 + (schedule(WARM_UP) - 0.1) * done / WARM_UP
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * done)) / 2


def _flat(grid: Tensor) -> Tensor:
    """A grid [B, C, h, w] as vectors [B * h * w, C]."""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)
