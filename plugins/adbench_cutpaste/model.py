"""CutPaste: a network from scratch that tells normal images from images with pasted pieces.

Li, Sohn, Yoon, Pfister, "CutPaste: Self-Supervised Learning for Anomaly Detection and
Localization", CVPR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_cutpaste.network import ResNet18, head
from adbench_harness.nn.colours import recoloured
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.sspcab import WEIGHT, prediction_errors, replace_penultimate
from adbench_harness.nn.stages import train_stages
from adbench_harness.nn.training import BatchSize, drawn_from
from adbench_harness.types import (
    Augmented,
    Batch,
    ImageEmbeddings,
    InputSpec,
    Model,
    Outputs,
    Tools,
    TrainSet,
)

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "size": 128,
        "width": 16,
        "batch": 16,
        "steps": 500,
        "optimiser": "adam",
        "learning_rate": 0.001,
        "shift": 0,
        "jitter": 0,
    },
    "paper": {},
    "smoke": {"size": 64, "width": 4, "batch": 8, "steps": 6},
}
OPTIMISERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, weight_decay=3e-5),
    "adam": torch.optim.Adam,
}


class CutPasteClassifier(Model):
    """The features of a classifier of normal images and of each kind of pseudo-anomaly.

    With the augmenter ``cutpaste`` there are three classes: normal, patch and scar.
    """

    name: ClassVar[str] = "cutpaste"
    summary: ClassVar[str] = "Features of a network that tells normal images from pasted pieces."
    paper: ClassVar[str | None] = (
        "Li et al., CutPaste: Self-Supervised Learning for Anomaly Detection and Localization, "
        "CVPR 2021"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({ImageEmbeddings})
    augmentation: Literal["required", "optional", "none"] = "required"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        size: Size = 256,
        width: Annotated[int, Field(ge=1, description="channels of the first layers")] = 64,
        batch: BatchSize = 48,
        steps: Annotated[int, Field(ge=0, description="steps of training")] = 65_536,
        optimiser: Annotated[
            Literal["sgd", "adam"], "SGD with momentum 0.9 and weight decay 3e-5, or Adam"
        ] = "sgd",
        learning_rate: Annotated[
            float, Field(gt=0, description="at the start; it falls to 0 along a cosine")
        ] = 0.03,
        shift: Annotated[
            float,
            Field(ge=0, le=1, description="maximum translation of images, as a fraction of a side"),
        ] = 0.04,
        jitter: Annotated[
            float, Field(ge=0, le=0.5, description="maximum change of the images' colours")
        ] = 0.1,
        sspcab: Annotated[bool, "whether an SSPCAB replaces the last convolution but one"] = False,
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        self.width = width
        self.batch = batch
        self.steps = steps
        self.optimiser = OPTIMISERS[optimiser]
        self.learning_rate = learning_rate
        self.shift = shift
        self.jitter = jitter
        self.sspcab = sspcab

    def fit(self, train: TrainSet, tools: Tools) -> CutPasteClassifier:
        """Train the network to tell the kinds of pseudo-anomalies from each other and from none."""
        assert tools.augmenter is not None, "the model declares that it needs one"
        with drawn_from(tools.generator):
            self.rebuild({}, tools)
            classify = head(8 * self.width, 1 + len(tools.augmenter.kinds)).to(tools.device)
        network = nn.Sequential(self.encoder, classify)
        train_stages(
            nn.ModuleList([network]),
            [partial(self._loss, network)],
            train,
            tools,
            steps=self.steps,
            batch=self.batch,
            optimiser=partial(self.optimiser, lr=self.learning_rate),
            rate=lambda done: (1 + math.cos(math.pi * done)) / 2,
            prepared=self._moved,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The encoder with initial weights; the head is not needed after training."""
        encoder = ResNet18(self.width)
        if self.sspcab:
            replace_penultimate(encoder)
        self.encoder = encoder.to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The encoder's features [B, 8 * width]."""
        height, width = batch.images.shape[2:]
        return Outputs((height, width), ImageEmbeddings(self.encoder(batch.images)))

    def _moved(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images [B, 3, H, W] translated by whole pixels and with other colours."""
        count, _, *sides = images.shape
        farthest = torch.tensor([round(self.shift * side) for side in sides])
        drawn = torch.rand(count, 2, generator=generator)
        offsets = (drawn * (2 * farthest + 1)).long() - farthest
        theta = torch.eye(2, 3).repeat(count, 1, 1)
        theta[:, :, 2] = 2 * (offsets / torch.tensor(sides)).flip(1)
        grid = functional.affine_grid(theta.to(images), list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        change = self.jitter * (2 * torch.rand(count, 4, generator=generator) - 1)
        everywhere = torch.ones_like(images[:, 0], dtype=torch.bool)
        return recoloured(moved, everywhere, change.to(images.device))

    def _loss(self, network: nn.Module, clean: Tensor, augmented: Augmented) -> Tensor:
        """Cross-entropy, in which each class that occurs has the same weight."""
        kinds = torch.cat([torch.zeros_like(augmented.kind), augmented.kind])
        with prediction_errors(network) as errors:
            logits = network(torch.cat([clean, augmented.images]))
        count = torch.bincount(kinds, minlength=logits.shape[1])
        weights = 1 / (count[kinds] * (count > 0).sum())
        loss = (weights * functional.cross_entropy(logits, kinds, reduction="none")).sum()
        return loss + WEIGHT * sum(errors, loss.new_zeros(()))
