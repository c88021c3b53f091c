"""STFPM: a student network that predicts the features of its pretrained twin on normal images.

Wang, Han, Ding, Huang, "Student-Teacher Feature Pyramid Matching for Anomaly Detection", BMVC 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.errors import UserError
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.maps import upsample
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

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 15, "batch": 8, "learning_rate": 0.1, "resize": 128},
    "paper": {},
    "smoke": {"epochs": 10, "batch": 4, "learning_rate": 0.1, "resize": 64},
}


class STFPM(Model):
    """The distance between a frozen teacher's and a trained student's normalised features."""

    name: ClassVar[str] = "stfpm"
    summary: ClassVar[str] = "Difference between a pretrained network and an identical student."
    paper: ClassVar[str | None] = (
        "Wang, Han, Ding, Huang, Student-Teacher Feature Pyramid Matching for Anomaly Detection, "
        "BMVC 2021"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=0, description="passes over the training images")] = 100,
        batch: BatchSize = 32,
        backbone: Annotated[str, "network of the teacher and of the student"] = "resnet18",
        layers: Annotated[
            tuple[str, ...], Field(min_length=1, description="its layers that are compared")
        ] = ("layer1", "layer2", "layer3"),
        learning_rate: Annotated[float, Field(gt=0, description="that of SGD")] = 0.4,
        resize: Resize = 256,
        crop: Crop = None,
        aspect: Aspect = "keep",
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.learning_rate = learning_rate
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> STFPM:
        """Train the student on the teacher's features."""
        self.teacher: Features = tools.features(self.feature_requests[0])
        self.rebuild({}, tools)
        untrained(self.student, tools.generator)
        self.student.train()
        train_epochs(
            lambda batch: torch.stack([d.mean() for d in self._distances(batch)]).sum(),
            {"student": self.student},
            torch.optim.SGD(
                self.student.parameters(), lr=self.learning_rate, momentum=0.9, weight_decay=1e-4
            ),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )
        self.student.eval()
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The student, still with the teacher's weights."""
        self.student = tools.trainable(self.feature_requests[0])

    def predict(self, batch: Batch) -> Outputs:
        """The product of the layers' distances on the finest grid, [B, h, w]."""
        height, width = batch.images.shape[-2:]
        with torch.no_grad():
            distances = self._distances(batch)
        finest = max((grid.shape[-2:] for grid in distances), key=math.prod)
        maps = torch.stack([upsample(grid, (finest[0], finest[1])) for grid in distances])
        return Outputs((height, width), AnomalyMap((Level(maps.prod(0)),)))

    def learned(self) -> Sequence[Tensor]:
        """The student; the harness adds the teacher."""
        return list(self.student.parameters())

    def _distances(self, batch: Batch) -> list[Tensor]:
        """Each layer's squared distance between the two normalised features, [B, h, w]."""
        theirs = self.teacher(batch)
        ours = self.student(batch.images.contiguous(memory_format=torch.channels_last))
        return [
            (functional.normalize(ours[layer]) - functional.normalize(theirs[layer]))
            .square()
            .sum(1)
            for layer in self.feature_requests[0].layers
        ]


def untrained(network: nn.Module, generator: torch.Generator) -> None:
    """Replace the weights of ``network`` by random ones, drawn from ``generator``.

    Those of convolutions are normal with variance 2 / fan-out (He et al., ICCV 2015), as in
    torchvision's ResNets; other modules' are torch's initial ones. Raises UserError if a module
    cannot be reset, since pretrained weights would stay.
    """
    with drawn_from(generator):
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                # Drawn on the CPU, so that every device gets the same weights.
                drawn = torch.empty(module.weight.shape)
                nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu")
                with torch.no_grad():
                    module.weight.copy_(drawn)
                    if module.bias is not None:
                        module.bias.zero_()
            elif callable(reset := getattr(module, "reset_parameters", None)):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                raise UserError(
                    f"stfpm: the backbone's part '{name}' ({type(module).__name__}) has weights "
                    "that cannot be drawn anew; choose another --backbone, e.g. resnet18"
                )
