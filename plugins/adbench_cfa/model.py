"""CFA: patch features, adapted until they lie in small spheres around mean normal features.

Lee, Lee, Song, "CFA: Coupled-hypersphere-based Feature Adaptation for Target-Oriented Anomaly
Localization", IEEE Access 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.nn.grids import grids
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.training import BatchSize, train_epochs
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Model,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    Tools,
    TrainSet,
)

ATTRACTED, REPELLED = 3, 3
"""Number of nearest centres whose spheres a feature has to enter, K, and of the next, J, that it
has to leave."""
ALPHA = 0.1
"""Margin by which it has to leave them, in squared distance."""
NU = 1e-3
"""The loss is divided by this number."""
RADIUS = 1e-5
"""Radius of the spheres before training."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 4},
    "paper": {},
    "smoke": {"epochs": 1, "gamma_d": 4},
}


class CFA(Model):
    """A 1 x 1 convolution of a frozen network's features, trained towards a fixed bank."""

    name: ClassVar[str] = "cfa"
    summary: ClassVar[str] = "Frozen features adapted to a bank of mean normal features."
    paper: ClassVar[str | None] = (
        "Lee, Lee, Song, CFA: Coupled-hypersphere-based Feature Adaptation for Target-Oriented "
        "Anomaly Localization, IEEE Access 2022"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = {**PRESETS["smoke"], "resize": 64, "crop": None}

    def __init__(
        self,
        *,
        epochs: Annotated[
            int, Field(ge=0, description="passes over the training images; 0: no training")
        ] = 30,
        batch: BatchSize = 4,
        backbone: Annotated[str, "frozen network"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...],
            Field(min_length=1, description="its layers, joined on the finest grid"),
        ] = ("layer1", "layer2", "layer3"),
        gamma_c: Annotated[
            int, Field(ge=1, description="positions per vector of the bank; above 1: by k-means")
        ] = 1,
        gamma_d: Annotated[
            int, Field(ge=1, description="channels of the layers per channel of the descriptor")
        ] = 1,
        learning_rate: Annotated[float, Field(gt=0, description="AdamW's")] = 1e-3,
        resize: Resize = 256,
        crop: Crop = 224,
        aspect: Aspect = "keep",
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.gamma_c = gamma_c
        self.gamma_d = gamma_d
        self.learning_rate = learning_rate
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> CFA:
        """Compute the bank with the initial descriptor, then train the descriptor towards it."""
        self.extract: Features = tools.features(self.feature_requests[0])
        seed = int(torch.randint(2**31, (), generator=tools.generator))
        self.channels = self._joined(next(train.batches(1))).shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.rebuild({"channels": self.channels}, tools)
        self.bank = Neighbours(self._centres(train, seed))
        spheres = Spheres().to(tools.device)
        parts = {"descriptor": self.descriptor, "spheres": spheres}
        train_epochs(
            lambda batch: spheres(self.descriptor(self._joined(batch)).flatten(0, 2), self.bank),
            parts,
            torch.optim.AdamW(
                [p for part in parts.values() for p in part.parameters()],
                lr=self.learning_rate,
                weight_decay=5e-4,
                amsgrad=True,
            ),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The descriptor with random weights."""
        channels = state["channels"]
        self.descriptor = Descriptor(channels, max(1, channels // self.gamma_d)).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The descriptor's features [B, h, w, D] on the finest layer's grid, and the bank."""
        height, width = batch.images.shape[-2:]
        with torch.no_grad():
            level = Level(self.descriptor(self._joined(batch)))
        return Outputs((height, width), PatchEmbeddings((level,)), PatchBank((self.bank,)))

    def _joined(self, batch: Batch) -> Tensor:
        """Each layer's 3 x 3 means, resized bilinearly to the finest grid, [B, C, h, w]."""
        layers = grids(self.extract, batch, self.feature_requests[0].layers)
        finest = max((grid.shape[-2:] for grid in layers), key=math.prod)
        means = (functional.avg_pool2d(grid, 3, stride=1, padding=1) for grid in layers)
        return torch.cat([functional.interpolate(m, finest, mode="bilinear") for m in means], 1)

    def _centres(self, train: TrainSet, seed: int) -> Tensor:
        """The initial descriptor's mean over the images at every position, [M, D]."""
        with torch.no_grad():
            total = sum(self.descriptor(self._joined(batch)).sum(0) for batch in train.batches())
        assert isinstance(total, Tensor), "a training set has at least one image"
        centres = (total / len(train)).flatten(0, 1)
        if self.gamma_c == 1:
            return centres
        from sklearn.cluster import KMeans

        means = KMeans(max(1, len(centres) // self.gamma_c), n_init=1, random_state=seed)
        found = means.fit(centres.cpu().numpy()).cluster_centers_
        return torch.from_numpy(found).to(centres)


class Descriptor(nn.Module):
    """Grids [B, C, h, w] -> features [B, h, w, D]: a 1 x 1 convolution that sees the position.

    Two channels with the row and the column, from -1 to 1, are added to its input (CoordConv, Liu
    et al., NeurIPS 2018).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels + 2, width, 1)

    def forward(self, grids: Tensor) -> Tensor:
        count, _, height, width = grids.shape
        rows = torch.linspace(-1, 1, height, device=grids.device).view(1, 1, height, 1)
        columns = torch.linspace(-1, 1, width, device=grids.device).view(1, 1, 1, width)
        place = [axis.expand(count, 1, height, width) for axis in (rows, columns)]
        features: Tensor = self.project(torch.cat([grids, *place], 1))
        return features.permute(0, 2, 3, 1).contiguous()


class Spheres(nn.Module):
    """CFA's loss: features [N, D] enter the spheres of their nearest centres, and leave the next.

    All spheres have the same radius, which is learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.radius = nn.Parameter(torch.tensor(RADIUS))

    def forward(self, features: Tensor, bank: Neighbours) -> Tensor:
        """The loss, a scalar; the centres are constant."""
        _, nearest = bank.search(features.detach(), ATTRACTED + REPELLED)
        # Directly, and only to these centres: the gradient needs no others.
        squares = (features[:, None] - bank.bank[nearest]).square().sum(2)
        attracted, repelled = squares[:, :ATTRACTED], squares[:, ATTRACTED:]
        reach = self.radius.square()
        loss = functional.relu(attracted - reach).mean()
        if repelled.numel():
            loss = loss + functional.relu(reach - repelled - ALPHA).mean()
        return loss / NU
