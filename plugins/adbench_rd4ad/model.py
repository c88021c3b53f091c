"""Reverse Distillation: a decoder rebuilds a teacher's features from a compact embedding.

Deng, Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.errors import UserError
from adbench_harness.nn.grids import grids
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.training import BatchSize, drawn_from, train_epochs
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
)
from adbench_rd4ad.network import Block, Student

WIDE = 256
"""Channels of the finest layer from which on the student has bottleneck blocks."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 16, "batch": 8, "resize": 128},
    "paper": {},
    "smoke": {"epochs": 3, "batch": 4, "resize": 64},
}


class ReverseDistillation(Model):
    """The cosine distance between a frozen teacher's features and a student's that rebuilds them.

    The student sees only the teacher's features, through a bottleneck that defects should not pass.
    """

    name: ClassVar[str] = "rd4ad"
    summary: ClassVar[str] = "Difference between a network's features and a decoder's."
    paper: ClassVar[str | None] = (
        "Deng, Li, Anomaly Detection via Reverse Distillation from One-Class Embedding, CVPR 2022"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=0, description="passes over the training images")] = 200,
        batch: BatchSize = 16,
        backbone: Annotated[str, "network of the teacher, frozen"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...],
            Field(min_length=1, description="its layers, finest first, each half as fine"),
        ] = ("layer1", "layer2", "layer3"),
        block: Annotated[
            Literal["auto", "basic", "bottleneck"],
            "the student's residual blocks; auto: those of the ResNet with as many channels",
        ] = "auto",
        loss: Annotated[
            Literal["flattened", "positions"],
            "cosine distance of whole grids (the authors' code), or mean of the positions' (paper)",
        ] = "flattened",
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 5e-3,
        resize: Resize = 256,
        crop: Crop = None,
        aspect: Aspect = "keep",
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.block = block
        self.loss = loss
        self.learning_rate = learning_rate
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> ReverseDistillation:
        """Train the student to rebuild the teacher's features."""
        self.teacher: Features = tools.features(self.feature_requests[0])
        example = self._grids(next(train.batches(1)))
        _check(example)
        self.channels = [grid.shape[1] for grid in example]
        with drawn_from(tools.generator):
            self.rebuild({"channels": self.channels}, tools)
        self.student.train()
        train_epochs(
            self._loss,
            {"student": self.student},
            torch.optim.Adam(self.student.parameters(), lr=self.learning_rate, betas=(0.5, 0.999)),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        self.student.eval()
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The student with random weights."""
        self.student = Student(state["channels"], self._block(state["channels"])).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """Each layer's cosine distance between teacher and student, [B, h, w]."""
        height, width = batch.images.shape[-2:]
        grids = self._grids(batch)
        with torch.no_grad():
            rebuilt = self.student(grids)
        levels = [
            Level(1 - functional.cosine_similarity(ours, theirs))
            for ours, theirs in zip(rebuilt, grids, strict=True)
        ]
        return Outputs((height, width), AnomalyMap(tuple(levels)))

    def learned(self) -> Sequence[Tensor]:
        """The student; the harness adds the teacher."""
        return list(self.student.parameters())

    def chosen(self) -> Mapping[str, str | int | float]:
        """The kind of the student's blocks."""
        return {"block": self._block(self.channels)}

    def _block(self, channels: Sequence[int]) -> Block:
        if self.block != "auto":
            return self.block
        return "bottleneck" if channels[0] >= WIDE else "basic"

    def _grids(self, batch: Batch) -> list[Tensor]:
        return grids(self.teacher, batch, self.feature_requests[0].layers)

    def _loss(self, batch: Batch) -> Tensor:
        """The sum over the layers of the mean cosine distance."""
        grids = self._grids(batch)
        start = 1 if self.loss == "flattened" else 2
        distances = [
            1 - functional.cosine_similarity(ours.flatten(start), theirs.flatten(start)).mean()
            for ours, theirs in zip(self.student(grids), grids, strict=True)
        ]
        return torch.stack(distances).sum()


def _check(grids: Sequence[Tensor]) -> None:
    """Raise UserError unless each grid is half as fine as the one before, and the last is even."""
    sizes = [tuple(grid.shape[-2:]) for grid in grids]
    halves = all(a == (2 * b[0], 2 * b[1]) for a, b in pairwise(sizes))
    if not halves or any(side % 2 for side in sizes[-1]):
        shown = ", ".join(f"{height} x {width}" for height, width in sizes)
        raise UserError(
            f"rd4ad: the layers have grids of {shown}; each must have half the height and width of "
            "the one before, and the last must be even: choose other layers, or a size that is a "
            "multiple of 32, e.g. 256"
        )
