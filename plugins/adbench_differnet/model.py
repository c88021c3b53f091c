"""DifferNet: a flow of an image's pooled features at three scales, over many rotations.

Rudolph, Wandt, Rosenhahn, "Same Same But DifferNet: Semi-Supervised Defect Detection with
Normalizing Flows", WACV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.flows import Coupling, Flow, negative_log_likelihood, perceptron
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.rotation import rotated
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
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"size": 224, "rotations": 8, "epochs": 24, "hidden": 512},
    "paper": {},
    "smoke": {"size": 64, "rotations": 4, "epochs": 8, "batch": 4, "hidden": 32},
}


class DifferNet(Model):
    """The density of an image's features, averaged over all positions."""

    name: ClassVar[str] = "differnet"
    summary: ClassVar[str] = "Normalizing flow of an image's pooled features at three scales."
    paper: ClassVar[str | None] = (
        "Rudolph et al., Same Same But DifferNet: Semi-Supervised Defect Detection with "
        "Normalizing Flows, WACV 2021"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Latents, LogDeterminants})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=1, description="passes over the training images")] = 192,
        batch: BatchSize = 24,
        backbone: Annotated[str, "frozen network"] = "alexnet",
        layers: Annotated[
            tuple[str, ...] | None,
            Field(
                min_length=1,
                description="its layers, pooled and joined; none: the paper's, features.12, of an "
                "AlexNet, else layer3",
            ),
        ] = None,
        rotations: Annotated[
            int, Field(ge=1, description="rotations of every image, over the full circle")
        ] = 64,
        drawn: Annotated[
            int, Field(ge=1, description="of these, the rotations of a training image per pass")
        ] = 4,
        couplings: Annotated[int, Field(ge=1, description="couplings of the flow")] = 8,
        hidden: Annotated[
            int, Field(ge=1, description="hidden neurons of a coupling's subnetwork")
        ] = 2048,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 2e-4,
        weight_decay: Annotated[float, Field(ge=0, description="Adam's")] = 1e-5,
        size: Size = 448,
    ) -> None:
        self.layers = layers or (("features.12",) if backbone == "alexnet" else ("layer3",))
        self.epochs = epochs
        self.batch = batch
        self.rotations = rotations
        self.drawn = drawn
        self.couplings = couplings
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.input = InputSpec(size, None, "squash")
        height, width = self.input.size
        self.feature_requests = tuple(
            FeatureRequest(
                backbone, self.layers, InputSpec((height // scale, width // scale), None, "squash")
            )
            for scale in SCALES
        )

    def fit(self, train: TrainSet, tools: Tools) -> DifferNet:
        """Maximise the likelihood of the features of rotated training images.

        The network runs once for each image and rotation, and the flow learns from these features.
        """
        self.extract: list[Features] = [tools.features(r) for r in self.feature_requests]
        rows: dict[int, int] = {}
        parts = []
        for images in train.batches():
            parts.append(self._features(images))
            assert images.handles is not None, "training images are as the harness loaded them"
            rows.update({handle: len(rows) + i for i, handle in enumerate(images.handles)})
        features = torch.cat(parts)
        # Some backbones have features so large that a new flow would overflow.
        self.scale = features.square().mean().sqrt().clamp(min=1e-12)
        features = features / self.scale
        self.channels = features.shape[2]
        self.rebuild({"channels": self.channels}, tools)

        def loss_of(batch: Batch) -> Tensor:
            where = torch.tensor([rows[handle] for handle in batch.handles or ()])
            shape = (len(where), self.drawn)
            turns = torch.randint(self.rotations, shape, generator=tools.generator)
            some = features[where[:, None], turns].flatten(0, 1)
            return negative_log_likelihood(*self.flow((some,))) / self.channels

        train_epochs(
            loss_of,
            {"flow": self.flow},
            torch.optim.Adam(
                self.flow.parameters(),
                lr=self.learning_rate,
                betas=(0.8, 0.8),
                eps=1e-4,
                weight_decay=self.weight_decay,
            ),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        return self

    def chosen(self) -> Mapping[str, str | int | float]:
        """The layers."""
        return {"layers": ", ".join(self.layers)}

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The flow with its initial weights."""
        with drawn_from(tools.generator):
            self.flow = self._flow(state["channels"]).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """A level of one cell for each rotation: latents [B, 1, 1, D]."""
        features = self._features(batch) / self.scale
        (latents,), (determinants,) = self.flow((features.flatten(0, 1),))
        latents = latents.view(len(batch), self.rotations, 1, 1, self.channels)
        determinants = determinants.view(len(batch), self.rotations, 1, 1)
        return Outputs(
            (batch.images.shape[2], batch.images.shape[3]),
            Latents(tuple(map(Level, latents.unbind(1)))),
            LogDeterminants(tuple(map(Level, determinants.unbind(1)))),
        )

    def _flow(self, channels: int) -> Flow:
        return Flow(
            Coupling(channels, perceptron(self.hidden), CLAMP, both=True)
            for _ in range(self.couplings)
        )

    def _features(self, batch: Batch) -> Tensor:
        """Pooled features [B, rotations, D]; the first rotation is by 0 degrees."""
        turned = [self._pooled(batch)]
        for turn in range(1, self.rotations):
            degrees = torch.full((len(batch),), 360 * turn / self.rotations)
            images = rotated(batch.images, degrees)
            turned.append(self._pooled(replace(batch, images=images, handles=None)))
        return torch.stack(turned, 1)

    def _pooled(self, batch: Batch) -> Tensor:
        """The means [B, D] of all layers at all scales."""
        means = []
        for extract in self.extract:
            found = extract(batch)
            # A vector is the mean over all positions already.
            means += [
                found[n] if found[n].dim() == 2 else found[n].mean((2, 3)) for n in self.layers
            ]
        return torch.cat(means, 1)
