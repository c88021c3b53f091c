"""AST: a student that is no flow imitates a teacher that is one; defects are where it fails.

Rudolph, Wehrbein, Rosenhahn, Wandt, "Asymmetric Student-Teacher Networks for Industrial Anomaly
Detection", WACV 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_ast.network import Student
from adbench_harness.nn.flows import Coupling, Flow, convolutions, negative_log_likelihood
from adbench_harness.nn.grids import grids
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.positions import sinusoids
from adbench_harness.nn.training import BatchSize, drawn_from, stage, train_epochs
from adbench_harness.types import (
    AnomalyMap,
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
KERNELS = (3, 3, 3, 5)
"""Side of the convolutions of each of the teacher's couplings."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"size": 256, "epochs": 24, "batch": 4, "student_hidden": 128},
    "paper": {},
    "smoke": {
        "size": 64,
        "epochs": 8,
        "batch": 4,
        "teacher_hidden": 8,
        "student_hidden": 16,
    },
}


class AST(Model):
    """The squared difference between the latents of a flow and those that a student predicts."""

    name: ClassVar[str] = "ast"
    summary: ClassVar[str] = "A convolutional student imitates a normalizing flow."
    paper: ClassVar[str | None] = (
        "Rudolph et al., Asymmetric Student-Teacher Networks for Industrial Anomaly Detection, "
        "WACV 2023"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap, Latents, LogDeterminants})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        epochs: Annotated[
            int, Field(ge=1, description="passes over the training images, for each network")
        ] = 72,
        batch: BatchSize = 8,
        backbone: Annotated[str, "frozen network"] = "efficientnet_b5",
        layer: Annotated[
            str | None,
            "its layer; none: the paper's, features.6, of an EfficientNet-B5, else layer3",
        ] = None,
        positions: Annotated[
            int, Field(ge=4, multiple_of=4, description="channels that encode a position")
        ] = 32,
        teacher_hidden: Annotated[
            int, Field(ge=1, description="hidden channels of the flow's subnetworks")
        ] = 64,
        student_hidden: Annotated[
            int, Field(ge=1, description="channels of the student's residual blocks")
        ] = 1024,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 2e-4,
        weight_decay: Annotated[float, Field(ge=0, description="Adam's")] = 1e-5,
        size: Size = 768,
    ) -> None:
        self.layer = layer or ("features.6" if backbone == "efficientnet_b5" else "layer3")
        self.epochs = epochs
        self.batch = batch
        self.feature_requests = (FeatureRequest(backbone, (self.layer,)),)
        self.positions = positions
        self.teacher_hidden = teacher_hidden
        self.student_hidden = student_hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.input = InputSpec(size, None, "squash")

    def fit(self, train: TrainSet, tools: Tools) -> AST:
        """Train the teacher, then the student on the teacher's latents."""
        self.extract: Features = tools.features(self.feature_requests[0])
        self.channels = self._grid(next(train.batches(1))).shape[1]
        self.rebuild({"channels": self.channels}, tools)

        def teacher_loss(batch: Batch) -> Tensor:
            grid = self._grid(batch)
            latents, determinants = self.teacher((grid,), (self._codes(grid),))
            return negative_log_likelihood(latents, determinants) / self.channels

        def student_loss(batch: Batch) -> Tensor:
            grid = self._grid(batch)
            with torch.no_grad():
                (latents,), _ = self.teacher((grid,), (self._codes(grid),))
            return functional.mse_loss(self._imitated(grid), latents)

        for name, network, loss_of in (
            ("teacher", self.teacher, teacher_loss),
            ("student", self.student.train(), student_loss),
        ):
            train_epochs(
                loss_of,
                {name: network},
                torch.optim.Adam(
                    network.parameters(),
                    lr=self.learning_rate,
                    eps=1e-8,
                    weight_decay=self.weight_decay,
                ),
                train,
                stage(tools, name),
                epochs=self.epochs,
                batch=self.batch,
            )
        self.student.eval()
        return self

    def chosen(self) -> Mapping[str, str | int | float]:
        """The layer."""
        return {"layer": self.layer}

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """Both networks with their initial weights."""
        with drawn_from(tools.generator):
            teacher, student = self._networks(state["channels"])
        self.teacher = teacher.to(tools.device)
        self.student: nn.Module = student.to(tools.device).eval()

    def predict(self, batch: Batch) -> Outputs:
        """The map [B, h, w] of squared differences, and the teacher's latents."""
        grid = self._grid(batch)
        (latents,), (determinants,) = self.teacher((grid,), (self._codes(grid),))
        difference = (self._imitated(grid) - latents).square().mean(1)
        return Outputs(
            (batch.images.shape[2], batch.images.shape[3]),
            AnomalyMap((Level(difference),)),
            Latents((Level(latents.permute(0, 2, 3, 1)),)),
            LogDeterminants((Level(determinants),)),
        )

    def _networks(self, channels: int) -> tuple[Flow, Student]:
        couplings = (
            Coupling(
                channels,
                convolutions(self.teacher_hidden, kernel),
                CLAMP,
                both=True,
                conditions=self.positions,
            )
            for kernel in KERNELS
        )
        student = Student(channels + self.positions, channels, self.student_hidden)
        return Flow(couplings), student

    def _imitated(self, grid: Tensor) -> Tensor:
        imitated: Tensor = self.student(torch.cat([grid, self._codes(grid)], 1))
        return imitated

    def _grid(self, batch: Batch) -> Tensor:
        return grids(self.extract, batch, (self.layer,))[0]

    def _codes(self, grid: Tensor) -> Tensor:
        """The codes [B, positions, h, w] of the grid's positions."""
        height, width = grid.shape[2:]
        codes = sinusoids(self.positions, (height, width)).to(grid.device)
        return codes.expand(len(grid), -1, -1, -1)
