"""What augmenters and models are fitted with: images, tools, a backbone, an augmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench_harness.basic.backbones import BACKBONES, Embedded
from adbench_harness.images.inputs import Images, Inputs, TrainImages
from adbench_harness.results.trial import Weights
from adbench_harness.running import contract
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.running.features import FeatureStore
from adbench_harness.testing.common import Skipped
from adbench_harness.types import (
    Augmented,
    Augmenter,
    Batch,
    FeatureRequest,
    Features,
    Outputs,
    Tools,
)

ResNet18 = next(backbone for backbone in BACKBONES if backbone.name == "resnet18")


def textures(count: int, side: int, seed: int = 0, blob: bool = False) -> Tensor:
    """Striped, slightly noisy normal images [count, 3, side, side]; ``blob`` plants a defect."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.arange(side)
    stripes = 0.5 + 0.2 * torch.sin(place / 3.0)[:, None] * torch.cos(place / 5.0)[None, :]
    noise = 0.02 * torch.randn(count, 3, side, side, generator=draw)
    images = (stripes + noise).clamp(0, 1)
    if blob:
        start, end = side * 2 // 5, side * 3 // 5
        images[:, :, start:end, start:end] = torch.tensor([0.95, 0.1, 0.1])[:, None, None]
    return images


def train(images: Tensor, classes: bool = False) -> TrainImages:
    """The images as a training set, half of them of each of two classes where a split has any."""
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
        {place: int(place >= half) for place in range(len(images))} if classes else None,
        validation=Images(inputs, (), seeds, device),
        classes=("good", "blob") if classes else (),
    )


def tools(augmenter: Any, side: int, seed: int = 0) -> Tools:
    return Tools(
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
        augmenter=augmenter,
        features=_features,
        trainable=_trainable,
        auxiliary=lambda _: train(textures(4, side, seed=9)),
        weights=_weights,
        progress=lambda *_: None,
        log=lambda *_: None,
        checkpoint=FileCheckpoint(None),
    )


def _features(request: FeatureRequest) -> Features:
    """The embedded backbone's layers in the place of any network that has the same layer names."""
    if not set(request.layers) <= set(Embedded.layers):
        raise Skipped(f"the embedded backbone has no layers {', '.join(request.layers)}")
    weights = Weights(Embedded.name, Embedded.version)
    store = FeatureStore(Embedded(), weights, torch.device("cpu"))
    return store.serve(FeatureRequest(Embedded.name, request.layers, request.input))


def _trainable(request: FeatureRequest) -> torch.nn.Module:
    """A small untrained ResNet in the place of any network that has the same layer names."""
    if not set(request.layers) <= set(ResNet18.layers):
        raise Skipped(f"a ResNet has no layers {', '.join(request.layers)}")
    return ResNet18().network(request.layers).eval()


def _weights(name: str) -> Path:
    raise Skipped(f"the model's own weights '{name}' are not here")


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
    """An augmenter for checks: a bright square in every second image."""

    name = "blobs"
    summary = "squares"
    version = 1
    kinds = ("square",)

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        images = batch.images.clone()
        masks = torch.zeros(len(batch), *images.shape[2:], dtype=torch.bool)
        size = images.shape[-1] // 4
        for i in range(0, len(batch), 2):
            top, left = torch.randint(0, images.shape[-1] - size, (2,), generator=generator)
            masks[i, top : top + size, left : left + size] = True
        images.masked_fill_(masks[:, None], 0.9)
        return Augmented(images, masks, masks.any((1, 2)).long())
