"""Patch AE: an encoder trained until each of its vectors can reconstruct its own image patch.

Cui, Liu, Lian, "Patch-wise Auto-Encoder for Visual Anomaly Detection", arXiv 2308.00429. The
equation numbers are the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.coreset import Ratio, greedy_coreset
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.training import BatchSize, drawn_from, train_epochs
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    InputSpec,
    Level,
    Model,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    Tools,
    TrainSet,
)
from adbench_patchae.collapse import collapse
from adbench_patchae.network import PatchAutoEncoder, reconstruction_loss

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 4, "backbone_rate": 0.1, "alpha": 1.0},
    "paper": {},
    "smoke": {"epochs": 1, "batch": 4, "width": 16},
}


class PatchAE(Model):
    """Patch features of a network trained on reconstruction, stored as a coreset.

    It trains on normal images and, if there is an augmenter, on images with pseudo-anomalies, which
    it also learns to reconstruct. The memory bank has only the features of normal images.
    """

    name: ClassVar[str] = "patchae"
    summary: ClassVar[str] = "Memory bank of features trained to reconstruct their own patch."
    paper: ClassVar[str | None] = (
        "Cui, Liu, Lian, Patch-wise Auto-Encoder for Visual Anomaly Detection, arXiv 2308.00429"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})
    augmentation: Literal["required", "optional", "none"] = "optional"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = {**PRESETS["smoke"], "resize": 64, "crop": 64}

    def __init__(
        self,
        *,
        epochs: Annotated[
            int, Field(ge=0, description="passes over the training images; 0: no training")
        ] = 100,
        batch: BatchSize = 8,
        width: Annotated[int, Field(ge=1, description="channels of the features, c3")] = 512,
        backbone: Annotated[str, "pretrained network"] = "wide_resnet101_2",
        layers: Annotated[
            tuple[str, ...],
            Field(min_length=1, description="its layers, joined on the finest grid"),
        ] = ("layer2", "layer3"),
        alpha: Annotated[
            float, Field(ge=0, le=1, description="weight of the normalised patches' distance")
        ] = 0.5,
        std: Annotated[
            Literal["population", "unbiased"], "kind of standard deviation of a patch"
        ] = "population",
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 1e-4,
        backbone_rate: Annotated[
            float,
            Field(ge=0, description="the backbone's share of the learning rate; 0: frozen"),
        ] = 1.0,
        coreset_ratio: Ratio = 0.01,
        resize: Resize = 256,
        crop: Crop = 224,
        aspect: Aspect = "keep",
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.width = width
        self.feature_requests = (FeatureRequest(backbone, layers),)
        self.alpha = alpha
        self.unbiased = std == "unbiased"
        self.learning_rate = learning_rate
        self.backbone_rate = backbone_rate
        self.coreset_ratio = coreset_ratio
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> PatchAE:
        """Train the network, then store the coreset of the normal images' features."""
        self.network = self._initial(train, tools)
        self._train(train, tools)
        self.bank = Neighbours(self._memory(train, tools))
        return self

    def predict(self, batch: Batch) -> Outputs:
        """The features of the batch's patches, and the memory bank."""
        size = (batch.images.shape[2], batch.images.shape[3])
        level = Level(self.embed(batch))
        return Outputs(size, PatchEmbeddings((level,)), PatchBank((self.bank,)))

    def learned(self) -> Sequence[Tensor]:
        """The memory bank [M, D] and the encoder; the decoder is no longer needed."""
        encoder = (self.network.backbone, self.network.compress)
        return [self.bank.bank, *(p for part in encoder for p in part.parameters())]

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The network, before its weights are loaded."""
        example = torch.zeros(1, 3, *self.input.size, device=tools.device)
        backbone = tools.trainable(self.feature_requests[0]).eval()
        self.network = PatchAutoEncoder(backbone, self.width, example).to(tools.device)

    def embed(self, batch: Batch) -> Tensor:
        """Features R, [B, h, w, D]."""
        with torch.no_grad():
            return self.network.encode(batch.images).permute(0, 2, 3, 1).contiguous()

    def _initial(self, train: TrainSet, tools: Tools) -> PatchAutoEncoder:
        """The published backbone, with new layers after it."""
        example = next(train.batches(1)).images
        with drawn_from(tools.generator):
            # Evaluation mode keeps the statistics of batch normalisation fixed.
            backbone = tools.trainable(self.feature_requests[0]).eval()
            return PatchAutoEncoder(backbone, self.width, example).to(tools.device)

    def _train(self, train: TrainSet, tools: Tools) -> None:
        """Minimise equation 3 over the training images, with pseudo-anomalies if available."""

        def loss_of(batch: Batch) -> Tensor:
            images = batch.images
            if tools.augmenter is not None:
                images = tools.augmenter.augment(batch, tools.generator).images
            return reconstruction_loss(
                self.network(images),
                images,
                self.network.patch,
                self.alpha,
                unbiased=self.unbiased,
            )

        train_epochs(
            loss_of,
            # Stored separately, since a backbone's state has the names of its weights file.
            dict(self.network.named_children()),
            torch.optim.Adam(self._groups()),
            train,
            tools,
            epochs=self.epochs,
            batch=self.batch,
        )

    def _groups(self) -> list[dict[str, Any]]:
        """The trained parameters with their learning rates; a frozen backbone has none."""
        network = self.network
        rates = {"backbone": self.backbone_rate * self.learning_rate}
        network.backbone.requires_grad_(self.backbone_rate > 0)
        groups = [
            {"params": list(part.parameters()), "lr": rates.get(name, self.learning_rate)}
            for name, part in network.named_children()
        ]
        return [group for group in groups if group["params"] and group["lr"]]

    def _memory(self, train: TrainSet, tools: Tools) -> Tensor:
        """The coreset [M, D] of the features of the clean training images; logs their collapse."""
        features: Tensor | None = None
        filled = 0
        brightness: list[Tensor] = []
        for batch in train.batches():
            patches = self.embed(batch).flatten(0, 2)
            if features is None:
                per_image = len(patches) // len(batch)
                features = patches.new_empty(len(train) * per_image, patches.shape[1])
            features[filled : filled + len(patches)] = patches
            filled += len(patches)
            means = functional.avg_pool2d(batch.images, self.network.patch).mean(1)
            brightness.append(means.flatten())
        assert features is not None, "a training set has at least one image"
        spread, share = collapse(features, torch.cat(brightness))
        tools.log("effective rank", spread)
        tools.log("variance explained by brightness", share)
        count = max(1, int(self.coreset_ratio * len(features)))
        if count < len(features):
            features = features[greedy_coreset(features, count, tools.generator)]
        return features
