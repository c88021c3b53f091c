"""RIAD: a network that inpaints what was removed from an image, at cells of several sizes.

Zavrtanik, Kristan, Skočaj, "Reconstruction by Inpainting for Visual Anomaly Detection", Pattern
Recognition 112, 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from adbench_harness.nn.gms import msgms
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.ssim import ssim
from adbench_harness.nn.training import BatchSize, Repeated, Samples, drawn_from, train_epochs
from adbench_harness.nn.unet import UNet
from adbench_harness.types import (
    Batch,
    InputSpec,
    Model,
    Outputs,
    Reconstruction,
    Tools,
    TrainSet,
    written,
)
from adbench_riad.masks import disjoint_masks

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 10, "samples": 250, "batch": 2, "width": 8, "size": 128,
             "learning_rate": 1e-3},
    "paper": {},
    "smoke": {"epochs": 2, "batch": 8, "cells": (2, 8), "width": 6, "size": 64,
              "learning_rate": 5e-3},
}  # fmt: skip
LATE, SLOWER = 250 / 300, 0.1
"""After this share of the epochs, the learning rate is multiplied by the second number."""


class RIAD(Model):
    """The input, and for each size of cells its reconstruction from what the masks leave."""

    name: ClassVar[str] = "riad"
    summary: ClassVar[str] = "Inpainting of cells that are removed from an image."
    paper: ClassVar[str | None] = (
        "Zavrtanik, Kristan, Skočaj, Reconstruction by Inpainting for Visual Anomaly Detection, "
        "Pattern Recognition 2021"
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
        epochs: Annotated[int, Field(ge=0, description="epochs, each of so many samples")] = 300,
        samples: Samples = 1,
        batch: BatchSize = 4,
        cells: Annotated[
            tuple[Annotated[int, Field(ge=1)], ...],
            Field(min_length=1, description="sides of the cells that are removed, in px"),
        ] = (2, 4, 8, 16),
        parts: Annotated[
            int, Field(ge=2, description="masks that an image is divided into; each is inpainted")
        ] = 3,
        width: Annotated[int, Field(ge=1, description="channels of the first block")] = 64,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 1e-4,
        size: Size = 256,
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        if any(side % 16 for side in self.input.size):
            raise ValueError(f"size must be multiples of 16 px, not {written(size)}")
        self.epochs = epochs
        self.samples = samples
        self.batch = batch
        self.cells = cells
        self.parts = parts
        self.width = width
        self.learning_rate = learning_rate

    def fit(self, train: TrainSet, tools: Tools) -> RIAD:
        """Train the network on masks of a random size of cells."""
        with drawn_from(tools.generator):
            self.rebuild({}, tools)

        def loss_of(batch: Batch) -> Tensor:
            chosen = int(torch.randint(len(self.cells), (), generator=tools.generator))
            masks = self._masks(self.cells[chosen], [tools.generator] * len(batch))
            made = self.inpainted(batch.images, masks.to(batch.images.device))
            return loss(made, batch.images)

        self.network.train()
        train_epochs(
            loss_of,
            {"network": self.network},
            torch.optim.Adam(self.network.parameters(), self.learning_rate, weight_decay=1e-5),
            Repeated(train, self.samples),
            tools,
            epochs=self.epochs,
            batch=self.batch,
            rate=lambda done: 1 if done < LATE * self.epochs else SLOWER,
        )
        self.network.eval()
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The network with random weights."""
        encoder = [self.width * factor for factor in (1, 2, 4, 8, 8)]
        self.network = UNet(3, 3, encoder, encoder[-2::-1]).to(tools.device).eval()

    def predict(self, batch: Batch) -> Outputs:
        """The images and a reconstruction for each size of cells."""
        draws = [torch.Generator().manual_seed(seed) for seed in batch.seeds.tolist()]
        made = [
            self.inpainted(batch.images, self._masks(cell, draws).to(batch.images.device))
            for cell in self.cells
        ]
        size = (batch.images.shape[2], batch.images.shape[3])
        return Outputs(size, Reconstruction(batch.images, tuple(made)))

    def inpainted(self, images: Tensor, masks: Tensor) -> Tensor:
        """Images [B, 3, H, W], put together from what the network makes under each of the masks.

        ``masks`` bool [B, parts, H, W] are disjoint. The network sees an image in [-1, 1], with
        zeros under the mask.
        """
        total = torch.zeros_like(images)
        for mask in masks.unbind(1):
            hidden = mask[:, None]
            left = (2 * images - 1).masked_fill(hidden, 0)
            made = self.network(left.contiguous(memory_format=torch.channels_last))
            total = total + hidden * (made + 1) / 2
        return total

    def _masks(self, cell: int, generators: list[torch.Generator]) -> Tensor:
        """The masks [B, parts, H, W] of as many images, each drawn from its own generator."""
        return torch.stack(
            [disjoint_masks(self.input.size, cell, self.parts, draws) for draws in generators]
        )


def loss(made: Tensor, images: Tensor) -> Tensor:
    """Squared error + (1 - MSGMS) + (1 - SSIM)."""
    return mse_loss(made, images) + (2 - msgms(made, images) - ssim(made, images)).mean()
