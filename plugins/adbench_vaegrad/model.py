"""VAE-grad: gradient descent turns a test image into a similar one that a VAE can reconstruct.

Dehaene, Frigo, Combrexelle, Eline, "Iterative Energy-Based Projection on a Normal Data Manifold for
Anomaly Localization", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from adbench_harness.nn.bottleneck import grid
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.tiles import by_tiles, random_crops
from adbench_harness.nn.training import BatchSize, Repeated, Samples, drawn_from, train_epochs
from adbench_harness.types import (
    Batch,
    InputSpec,
    Model,
    Outputs,
    Reconstruction,
    Tools,
    TrainSet,
)
from adbench_vaegrad.network import VAE, squared_error

SHIFT = 5
"""Largest translation of a training image in px."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 10, "samples": 1000, "batch": 8, "size": 128, "learning_rate": 1e-3},
    "paper": {},
    "smoke": {"epochs": 2, "samples": 40, "batch": 4, "latent": 8, "size": 64,
              "learning_rate": 1e-3, "iterations": 5},
    "textures": {"size": 512, "piece": 128},
}  # fmt: skip


class VAEGrad(Model):
    """The input, and where the descent from it ends.

    Objects are changed as a whole. Of textures, ``piece`` sets the side of the pieces that are
    trained on, at random places, and changed, side by side.
    """

    name: ClassVar[str] = "vae-grad"
    summary: ClassVar[str] = "An image after gradient steps to what a variational AE can make."
    paper: ClassVar[str | None] = (
        "Dehaene, Frigo, Combrexelle, Eline, Iterative Energy-Based Projection on a Normal Data "
        "Manifold for Anomaly Localization, ICLR 2020"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Reconstruction})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=0, description="epochs, each of so many samples")] = 200,
        samples: Samples = 10_000,
        batch: BatchSize = 128,
        latent: Annotated[int, Field(ge=1, description="length of the bottleneck's vector")] = 100,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 2e-4,
        iterations: Annotated[
            int, Field(ge=0, description="largest number of steps from an image; 0: none")
        ] = 25,
        step: Annotated[float, Field(gt=0, description="length of a step, alpha")] = 0.5,
        weight: Annotated[
            float, Field(ge=0, description="weight of the distance from the image, lambda")
        ] = 0.05,
        size: Size = 256,
        piece: Annotated[
            int | None, Field(ge=64, description="side of a texture's pieces in px; none: objects")
        ] = None,
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        self.pieces = self.input.size if piece is None else (piece, piece)
        if any(part > whole for part, whole in zip(self.pieces, self.input.size, strict=True)):
            raise ValueError(f"a piece of {piece} px does not fit into the input; make it smaller")
        grid(self.pieces)  # raises ValueError for a size that it cannot halve
        self.epochs = epochs
        self.samples = samples
        self.batch = batch
        self.latent = latent
        self.learning_rate = learning_rate
        self.iterations = iterations
        self.step = step
        self.weight = weight

    def fit(self, train: TrainSet, tools: Tools) -> VAEGrad:
        """Train the VAE, then find the smallest reconstruction loss of the training images."""
        with drawn_from(tools.generator):
            self.rebuild({}, tools)

        def loss_of(batch: Batch) -> Tensor:
            drawn = self._drawn(batch.images, tools.generator)
            return self.network.bound(drawn, tools.generator).mean()

        train_epochs(
            loss_of,
            {"network": self.network},
            torch.optim.Adam(self.network.parameters(), self.learning_rate, weight_decay=1e-5),
            Repeated(train, self.samples),
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        self.normal = self._smallest_loss(train)
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The VAE with random weights."""
        self.network = VAE(self.pieces, self.latent).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The images, and what the steps made of them."""
        size = (batch.images.shape[2], batch.images.shape[3])
        made = by_tiles(self.projected, batch.images, self.pieces, min(self.pieces))
        return Outputs(size, Reconstruction(batch.images, (made,)))

    def projected(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] after the steps, which stop where a VAE reconstructs well.

        x <- x - alpha * gradient of E(x) * (x - VAE(x))^2 by element, where E(x) is the
        reconstruction loss + lambda * |x - the image|, a sum. An image stops when its loss is below
        the smallest one of the training images.
        """
        current = images
        for _ in range(self.iterations):
            with torch.enable_grad():
                point = current.detach().requires_grad_()
                made = self.network(point)
                losses = squared_error(point, made)
                energies = losses + self.weight * (point - images).abs().flatten(1).sum(1)
                (gradient,) = torch.autograd.grad(energies.sum(), point)
            going = losses >= self.normal
            if not going.any():
                break
            change = self.step * gradient * (point - made).square()
            current = (point - going[:, None, None, None] * change).detach()
        return current

    def _smallest_loss(self, train: TrainSet) -> float:
        """Of all pieces of all training images."""
        losses: list[float] = []

        def measured(pieces: Tensor) -> Tensor:
            losses.extend(squared_error(pieces, self.network(pieces)).tolist())
            return pieces

        with torch.no_grad():
            for batch in train.batches():
                by_tiles(measured, batch.images, self.pieces, min(self.pieces))
        return min(losses)

    def _drawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A piece of each texture, or each object moved by up to ``SHIFT`` px."""
        if self.pieces == self.input.size:
            images = pad(images, (SHIFT,) * 4, mode="replicate")
        return random_crops(images, self.pieces, generator)
