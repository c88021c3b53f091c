"""Auto-encoders that learn to reconstruct normal images, and fail where an image is not normal.

Bergmann, Löwe, Fauser, Sattlegger, Steger, "Improving Unsupervised Defect Segmentation by Applying
Structural Similarity to Autoencoders", VISAPP 2019; the settings for MVTec AD are those of
Bergmann, Fauser, Sattlegger, Steger, "MVTec AD", CVPR 2019.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pad

from adbench_harness.nn.bottleneck import decoder, encoder, grid
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.ssim import ssim_map
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

STRIDE = 32
"""Distance of the pieces that a texture is cut into, in px."""
SHIFT = 5
"""Largest translation of a training image in px: half of what a crop of 266 px to 256 px allows."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 10, "samples": 1000, "batch": 8, "latent": 100, "size": 128,
             "learning_rate": 1e-3},
    "paper": {},
    "smoke": {"epochs": 2, "samples": 40, "batch": 4, "latent": 8, "size": 64,
              "learning_rate": 1e-3},
    "textures": {"latent": 100, "piece": 128},
}  # fmt: skip


class AutoEncoder(Model):
    """What both have in common: everything but the loss.

    Objects are reconstructed as a whole. Of textures, ``piece`` sets the side of the pieces that
    are trained on, at random places, and reconstructed, ``STRIDE`` px apart.
    """

    paper: ClassVar[str | None] = (
        "Bergmann, Löwe, Fauser, Sattlegger, Steger, Improving Unsupervised Defect Segmentation by "
        "Applying Structural Similarity to Autoencoders, VISAPP 2019"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Reconstruction})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]
    xfail: ClassVar[Mapping[str, str]] = {
        "planted_blob_scores_above_normal": "the smoke preset's few steps are too few to learn"
    }

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=0, description="epochs, each of so many samples")] = 200,
        samples: Samples = 10_000,
        batch: BatchSize = 128,
        latent: Annotated[int, Field(ge=1, description="length of the bottleneck's vector")] = 500,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 2e-4,
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

    def fit(self, train: TrainSet, tools: Tools) -> AutoEncoder:
        """Train the network on pieces of the images, or on images that are slightly moved."""
        with drawn_from(tools.generator):
            self.rebuild({}, tools)

        def loss_of(batch: Batch) -> Tensor:
            drawn = self._drawn(batch.images, tools.generator)
            return self.loss(self.network(drawn), drawn)

        train_epochs(
            loss_of,
            {"network": self.network},
            torch.optim.Adam(self.network.parameters(), self.learning_rate, weight_decay=1e-5),
            Repeated(train, self.samples),
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The encoder and the decoder with random weights."""
        self.network = nn.Sequential(
            encoder(self.pieces, self.latent), decoder(self.pieces, self.latent)
        ).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The images and their reconstructions."""
        size = (batch.images.shape[2], batch.images.shape[3])
        made = by_tiles(self.network, batch.images, self.pieces, STRIDE)
        return Outputs(size, Reconstruction(batch.images, (made,)))

    @abstractmethod
    def loss(self, made: Tensor, images: Tensor) -> Tensor:
        """How far the reconstructions ``made`` are from the images, both [B, 3, H, W]."""

    def _drawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A piece of each texture, or each object moved by up to ``SHIFT`` px."""
        if self.pieces == self.input.size:
            images = pad(images, (SHIFT,) * 4, mode="replicate")
        return random_crops(images, self.pieces, generator)


class L2AE(AutoEncoder):
    """Trained to minimise the squared difference of the pixels."""

    name: ClassVar[str] = "l2-ae"
    summary: ClassVar[str] = "Auto-encoder trained on the squared difference of pixels."

    def loss(self, made: Tensor, images: Tensor) -> Tensor:
        return mse_loss(made, images)


class SSIMAE(AutoEncoder):
    """Trained to maximise the structural similarity of the windows of 11 px around all pixels."""

    name: ClassVar[str] = "ssim-ae"
    summary: ClassVar[str] = "Auto-encoder trained on structural similarity (SSIM)."

    def loss(self, made: Tensor, images: Tensor) -> Tensor:
        return 1 - ssim_map(made, images).mean()
