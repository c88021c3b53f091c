"""The inputs for checks of augmenters and models: images, ``tools`` and an augmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench_harness.images.inputs import Images, Inputs, TrainImages
from adbench_harness.running import contract
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.running.features import trainable
from adbench_harness.testing.common import Skipped
from adbench_harness.testing.standin import store
from adbench_harness.types import (
    Augmented,
    Augmenter,
    Batch,
    FeatureRequest,
    Features,
    Model,
    Outputs,
    Tools,
)

CATEGORIES = ("plate", "tile")
"""Names of categories, for models that declare ``category_names``."""


def textures(count: int, size: int | tuple[int, int], seed: int = 0, blob: bool = False) -> Tensor:
    """Striped, slightly noisy normal images [count, 3, H, W]; ``blob`` adds a defect.

    ``size`` is a side or (height, width) in px.
    """
    height, width = (size, size) if isinstance(size, int) else size
    draw = torch.Generator().manual_seed(seed)
    down, across = torch.sin(torch.arange(height) / 3.0), torch.cos(torch.arange(width) / 5.0)
    stripes = 0.5 + 0.2 * down[:, None] * across[None, :]
    noise = 0.02 * torch.randn(count, 3, height, width, generator=draw)
    images = (stripes + noise).clamp(0, 1)
    if blob:
        rows, columns = (slice(side * 2 // 5, side * 3 // 5) for side in (height, width))
        images[:, :, rows, columns] = torch.tensor([0.95, 0.1, 0.1])[:, None, None]
    return images


def batch(images: Tensor, model: Model | None = None) -> Batch:
    """The images [B, 3, H, W] as ``predict`` gets them, with the inputs that ``model`` declares."""
    wanted = _wanted(images, model)
    indices = range(len(images))
    return Batch(
        images=images,
        seeds=torch.arange(len(images)),
        categories=tuple(wanted["categories"]),
        extras=wanted["extras"].batch(indices, images.device) if wanted["extras"] else {},
    )


def train(images: Tensor, classes: bool = False, model: Model | None = None) -> TrainImages:
    """The images [N, 3, H, W] as a training set, with the inputs that ``model`` declares.

    With ``classes``, half of the images belong to each of two classes.
    """
    inputs = Inputs(
        samples=(),
        pixels=(images * 255).round().to(torch.uint8),
        sizes=np.full((len(images), 2), images.shape[2:], np.int32),
        seconds=np.zeros(len(images)),
    )
    seeds = np.arange(len(images), dtype=np.int64)
    device = torch.device("cpu")
    half = len(images) // 2
    return TrainImages(
        inputs,
        range(len(images)),
        seeds,
        device,
        {i: int(i >= half) for i in range(len(images))} if classes else None,
        validation=Images(inputs, (), seeds, device),
        classes=("good", "blob") if classes else (),
        **_wanted(images, model),
    )


def _wanted(images: Tensor, model: Model | None) -> dict[str, Any]:
    named = model is not None and model.category_names
    return {
        "categories": [CATEGORIES[i % len(CATEGORIES)] for i in range(len(images))]
        if named
        else [],
        "extras": _Extras(images, model.extras) if model is not None and model.extras else None,
    }


@dataclass(frozen=True)
class _Extras:
    """Grey copies of the images, in place of extra images such as depth: [1, H, W], 8 bits.

    It replaces ``Extras``, which reads files.
    """

    images: Tensor
    names: tuple[str, ...]

    def batch(self, chosen: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        grey = self.images[list(chosen)].mean(1, keepdim=True).mul(255).to(device)
        return {name: grey.clone() for name in self.names}


def tools(augmenter: Any, size: int | tuple[int, int], seed: int = 0) -> Tools:
    """The ``tools`` of ``fit``; one small untrained network replaces every backbone."""
    return Tools(
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
        augmenter=augmenter,
        features=_features,
        trainable=_trainable,
        auxiliary=lambda _: train(textures(4, size, seed=9)),
        weights=_weights,
        progress=lambda *_: None,
        log=lambda *_: None,
        checkpoint=FileCheckpoint(None),
    )


def _features(request: FeatureRequest) -> Features:
    return store().serve(request)


def _trainable(request: FeatureRequest) -> torch.nn.Module:
    return trainable(store().network(request.layers), request)


def _weights(name: str) -> Path:
    raise Skipped(f"the model's own weights '{name}' were not found")


@dataclass(frozen=True)
class Walked:
    """Outputs as a scorer's ``fit`` gets them; implements ``TrainOutputs``."""

    outputs: Sequence[Outputs]
    validation: Sequence[Outputs] = ()
    classes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Outputs]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return sum(len(next(contract.tensors(tuple(o.ports.values())))) for o in self.outputs)


class Blobs(Augmenter):
    """An augmenter for checks, which draws a bright square in every second image."""

    name = "blobs"
    summary = "squares"
    version = 1
    kinds = ("square",)

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        images = batch.images.clone()
        height, width = images.shape[2:]
        masks = torch.zeros(len(batch), height, width, dtype=torch.bool)
        size = min(height, width) // 4
        for i in range(0, len(batch), 2):
            down, across = torch.rand(2, generator=generator).tolist()
            top, left = int(down * (height - size)), int(across * (width - size))
            masks[i, top : top + size, left : left + size] = True
        images.masked_fill_(masks[:, None], 0.9)
        return Augmented(images, masks, masks.any((1, 2)).long())
