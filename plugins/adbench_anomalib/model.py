"""Adapts an anomalib model to adbench's contract: its own training, its raw output."""

from __future__ import annotations

import inspect
import random
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from anomalib.data import ImageBatch
from anomalib.pre_processing import PreProcessor
from torch import Tensor, nn
from torchvision.transforms import v2

from adbench_anomalib.training import train_module
from adbench_harness.errors import UserError
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    ImageScore,
    InputSpec,
    Level,
    Model,
    Outputs,
    Port,
    Tools,
    TrainSet,
)

_OFF: Final = ("post_processor", "evaluator", "visualizer")
SET_BY_US: Final = frozenset(
    {"self", "pre_processor", "epochs", "batch_size", "api_key", "image_size", "input_shape", *_OFF}
)
"""Constructor parameters of anomalib that are set here, or that must not be in a result."""

UNABLE: Final = {
    "CFM": "it needs a point cloud for each image",
    "VlmAd": "it reads image files by their path, and components do not get the paths",
}
"""Models that need more than images."""

SQUARE: Final = {
    "FoundAD": "its position embeddings are those of a square grid",
    "Ganomaly": "its discriminator ends in one number only then",
    "GeneralAD": "its transformer refuses others",
    "InpFormer": "it arranges the patches in a square grid",
}
"""Models whose input must be square, each with the reason."""


class AnomalibModel(Model):
    """Base of the generated classes; ``source`` is anomalib's class."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str | None]
    version: ClassVar[int]
    source: ClassVar[type[Any]]
    emits: frozenset[type]

    def __init__(
        self,
        *,
        size: int | tuple[int, int] | None,
        epochs: int | None,
        batch: int,
        given: Mapping[str, Any],
    ) -> None:
        self.size = size
        self.epochs = epochs
        self.batch = batch
        self.given = given
        self.input = self._input()
        height, width = self.input.size
        if height != width and (reason := SQUARE.get(self.source.__name__)):
            raise ValueError(f"the input must be square: {reason}; write size as one number")

    def _input(self) -> InputSpec:
        """The resizing and cropping of the model's own pre-processor."""
        sides = {type(step): step.size for step in self._steps() if hasattr(step, "size")}
        resize, crop = sides.get(v2.Resize), sides.get(v2.CenterCrop)
        if resize is None:
            return InputSpec(self.size or 256, None, "squash")
        squash = len(resize) == 2
        if squash and resize[0] != resize[1]:
            return InputSpec(tuple(resize), None)
        inner = crop[0] if crop and crop[0] < resize[0] else None
        return InputSpec(resize[0], inner, "squash" if squash else "keep")

    def fit(self, train: TrainSet, tools: Tools) -> AnomalibModel:
        """Build the anomalib model and train it with its own steps and hooks."""
        if reason := UNABLE.get(self.source.__name__):
            raise UserError(f"{self.name} cannot run on images alone: {reason}; leave it out")
        seed = int(torch.randint(2**32, (), generator=tools.generator))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # anomalib's models use it
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                self.module = train_module(self._built, train, tools, self.epochs, self.batch)
            except Exception as error:
                if (missing := _missing(error)) is None:
                    raise
                raise UserError(
                    f"{self.name} needs '{missing}', which is not on this machine and cannot be "
                    f"downloaded ({type(error).__name__}); run it once with a network connection, "
                    "or put the file into the cache"
                ) from error
        return self

    def predict(self, batch: Batch) -> Outputs:
        """The map [B, H, W] and the score [B] before any post-processing.

        If the model gives no score, it is the map's maximum, as in anomalib's post-processor.
        """
        images = self.module.pre_processor.transform(batch.images)
        said = self.module.predict_step(ImageBatch(image=images), 0)
        ports: list[Port] = []
        score, maps = said.pred_score, said.anomaly_map
        if maps is not None:
            maps = _plain(maps).reshape(len(batch), *maps.shape[-2:])
            ports.append(AnomalyMap((Level(maps),)))
        if score is not None:
            ports.append(ImageScore(_plain(score).reshape(len(batch))))
        elif maps is not None:
            ports.append(ImageScore(maps.flatten(1).amax(1)))
        return Outputs((batch.images.shape[2], batch.images.shape[3]), *ports)

    def learned(self) -> Sequence[Tensor]:
        """Parameters, and buffers other than those of batch normalisation."""
        remembered = (
            buffer
            for module in self.module.model.modules()
            if not isinstance(module, nn.modules.batchnorm._BatchNorm)
            for buffer in module.buffers(recurse=False)
        )
        return [*self.module.model.parameters(), *remembered]

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The anomalib module, before its weights are put into it."""
        self.module = self._built().to(tools.device).eval()

    # ------------------------------------------------------------ anomalib's side

    def _steps(self) -> list[Any]:
        """The transforms of the model's own pre-processor, with our size if one was set."""
        known = inspect.signature(self.source.configure_pre_processor).parameters
        sized = {}
        if self.size is not None:
            size = InputSpec(self.size, None).size
            wanted = {"image_size": size, "center_crop_size": size, "crop_size": min(size)}
            sized = {name: value for name, value in wanted.items() if name in known}
        transform = self.source.configure_pre_processor(**sized).transform
        return list(getattr(transform, "transforms", [transform]))

    def _built(self) -> Any:
        """The anomalib module for images that the harness has already resized and cropped."""
        size = self.input.size
        steps = [step for step in self._steps() if not isinstance(step, v2.Resize | v2.CenterCrop)]
        # Resizing to the images' own size changes nothing, but tells the model the size.
        transform = v2.Compose([v2.Resize(size, antialias=True), *steps])
        known = inspect.signature(self.source.__init__).parameters
        ours = {
            "pre_processor": PreProcessor(transform),
            "batch_size": self.batch,
            "epochs": self.epochs,
            "image_size": size[0],
            "input_shape": size,
            **dict.fromkeys(_OFF, False),
        }
        given = {name: value for name, value in ours.items() if name in known and value is not None}
        module = self.source(**self.given, **given)
        if module.pre_processor is None or isinstance(module.pre_processor, bool):
            module.pre_processor = PreProcessor(transform)
        return module


def _plain(values: Tensor) -> Tensor:
    return values.detach().as_subclass(Tensor).float()


def _missing(error: BaseException | None) -> str | None:
    """The address or hub repository of a failed download."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            for name in ("repo_id", "url"):
                if isinstance(value := frame.f_locals.get(name), str):
                    return value
        error = error.__cause__ or error.__context__
    return None
