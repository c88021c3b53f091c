"""A third party's networks, as papers have them: ``--plugins tests/thirdparty/networks.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap,
    Backbone,
    Batch,
    FeatureRequest,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
)

Epochs = Annotated[int, Field(ge=1, description="passes over the training images")]


class AutoEncoder(nn.Module):
    """What the network cannot rebuild is anomalous. An ``nn.Module`` and nothing of ours."""

    name, summary, version = "plain-autoencoder", "Reconstruction error of a small network.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(64, None)

    def __init__(self, *, epochs: Epochs = 20) -> None:
        super().__init__()
        self.epochs = epochs
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 2, 2)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 4)
        )

    def forward(self, images: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.features(images))
        return rebuilt

    def fit(self, train: TrainSet, tools: Tools) -> None:
        started(self, tools)
        optimise(
            self.parameters(),
            lambda batch: functional.mse_loss(self(batch.images), batch.images),
            train,
            tools,
            self.epochs,
        )
        self.eval()

    def predict(self, batch: Batch) -> Outputs:
        error = (self(batch.images) - batch.images).square().mean(1)
        return Outputs((64, 64), AnomalyMap((Level(error),)))


class Discriminator(nn.Module, Model):
    """As SimpleNet: a discriminator tells frozen features from the same with noise added."""

    name, summary, version = "plain-discriminator", "Features told from noisy features.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(64, None)

    def __init__(
        self, *, backbone: Annotated[str, "frozen network"] = "plain-convnet", epochs: Epochs = 20
    ) -> None:
        super().__init__()
        self.epochs = epochs
        self.feature_requests = (FeatureRequest(backbone, ("layer1", "layer2")),)

    def fit(self, train: TrainSet, tools: Tools) -> None:
        self.extract = tools.features(self.feature_requests[0])
        self.width = self._joined(next(iter(train.batches()))).shape[3]
        self.rebuild({"width": self.width}, tools)
        started(self, tools)

        def loss(batch: Batch) -> Tensor:
            normal = self.adapter(self._joined(batch))
            noise = torch.randn(normal.shape, generator=tools.generator).to(normal)
            noisy = normal + 0.5 * normal.detach().std() * noise
            told = functional.softplus(-self.head(normal)) + functional.softplus(self.head(noisy))
            return told.mean()

        optimise(self.parameters(), loss, train, tools, self.epochs)
        self.eval()

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        width = state["width"]
        self.adapter = nn.Linear(width, width).to(tools.device)
        self.head = nn.Sequential(nn.Linear(width, 32), nn.LeakyReLU(), nn.Linear(32, 1))
        self.head.to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        verdict = self.head(self.adapter(self._joined(batch)))[..., 0]
        return Outputs((64, 64), AnomalyMap((Level(-verdict),)))

    def _joined(self, batch: Batch) -> Tensor:
        fine, coarse = self.extract(batch).values()
        coarse = functional.interpolate(coarse, fine.shape[2:], mode="bilinear")
        return torch.cat([fine, coarse], 1).permute(0, 2, 3, 1)


class StudentTeacher(Model):
    """As STFPM: a student learns to say what a frozen teacher says of normal images."""

    name, summary, version = "plain-student", "Where a student differs from its teacher.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(64, None)

    def __init__(
        self, *, backbone: Annotated[str, "the teacher"] = "plain-convnet", epochs: Epochs = 20
    ) -> None:
        self.epochs = epochs
        self.feature_requests = (FeatureRequest(backbone, ("layer1", "layer2")),)

    def fit(self, train: TrainSet, tools: Tools) -> None:
        (request,) = self.feature_requests
        self.teacher = tools.features(request)
        self.student = started(tools.trainable(request), tools)
        optimise(
            self.student.parameters(),
            lambda batch: sum(grid.mean() for grid in self._differences(batch)),
            train,
            tools,
            self.epochs,
        )
        self.student.eval()

    def predict(self, batch: Batch) -> Outputs:
        return Outputs((64, 64), AnomalyMap(tuple(map(Level, self._differences(batch)))))

    def _differences(self, batch: Batch) -> list[Tensor]:
        """Squared distance of the two networks' normalised features, a grid [B, h, w] a layer."""
        taught, said = self.teacher(batch), self.student(batch.images)
        pairs = [(functional.normalize(taught[n]), functional.normalize(said[n])) for n in taught]
        return [(one - other).square().sum(1) for one, other in pairs]


class ConvNet(Backbone):
    """Two stages whose weights nobody has to fetch."""

    name, summary, version = "plain-convnet", "A small untrained network.", 1
    layers = ("layer1", "layer2")

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(1)
            return Stages(layers)


class Stages(nn.Module):
    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.layer1 = nn.Sequential(nn.Conv2d(3, 24, 7, 4, 3), nn.ReLU(), nn.BatchNorm2d(24))
        if "layer2" in layers:
            self.layer2 = nn.Sequential(nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(), nn.BatchNorm2d(32))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found = {"layer1": self.layer1(images - 0.5)}
        if "layer2" in self.layers:
            found["layer2"] = self.layer2(found["layer1"])
        return {layer: found[layer] for layer in self.layers}


def started(network: nn.Module, tools: Tools) -> nn.Module:
    """The network with new weights that depend on the trial's generator alone, to be trained."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(int(torch.randint(2**62, (), generator=tools.generator)))
        for part in network.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return network.to(tools.device).train()


def optimise(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[Batch], Tensor],
    train: TrainSet,
    tools: Tools,
    epochs: int,
) -> None:
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    for epoch in range(epochs):
        for batch in train.batches(4, tools.generator):
            loss = loss_of(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        tools.progress(epoch + 1, epochs)
        tools.log("loss", float(loss.detach()))


@hookimpl
def adbench_models() -> Iterable[type]:
    return [AutoEncoder, Discriminator, StudentTeacher]


@hookimpl
def adbench_backbones() -> Iterable[type[Backbone]]:
    return [ConvNet]
