"""PatchCore's ensemble: several backbones, each with a coreset of its own, and their mean score.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, table 4. How the
scores are brought to one scale follows the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.errors import UserError
from adbench_harness.nn.coreset import Ratio
from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.levels import overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Distance, MatchedPatches, Sigma
from adbench_harness.types import (
    Batch,
    Model,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    Scorer,
    Scores,
    Tools,
    TrainOutputs,
    TrainSet,
)
from adbench_patchcore.model import Embedding, PatchCore

PAPER = "Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022"


class Ensemble(Model):
    """PatchCore on several backbones; each one's embeddings and bank are a level."""

    name: ClassVar[str] = "patchcore-ensemble"
    summary: ClassVar[str] = "PatchCore on several backbones, one level for each."
    paper: ClassVar[str | None] = PAPER
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False  # its three networks are large
    emits: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})
    check_parameters: ClassVar[Mapping[str, Any]] = {
        "members": ("resnet18/layer2/layer3", "resnet34/layer1"),
        "resize": 96,
        "crop": 80,
    }

    def __init__(
        self,
        *,
        members: Annotated[
            tuple[str, ...],
            Field(
                min_length=1,
                description="each member's frozen network and its layers, BACKBONE/LAYER/LAYER",
            ),
        ] = (
            "wide_resnet101_2/layer2/layer3",
            "resnext101_32x8d/layer2/layer3",
            "densenet201/features.denseblock2/features.denseblock3",
        ),
        embedding: Embedding = "auto",
        dimension: Annotated[
            int, Field(ge=1, description="dimension of a member's pooled embedding")
        ] = 384,
        coreset_ratio: Ratio = 0.01,
        resize: Resize = 366,
        crop: Crop = 320,
        aspect: Aspect = "keep",
    ) -> None:
        self.members = []
        for member in members:
            backbone, *layers = member.split("/")
            if not layers:
                raise ValueError(
                    f"'{member}' names no layer; write BACKBONE/LAYER, e.g. resnet18/layer2/layer3"
                )
            self.members.append(
                PatchCore(
                    backbone=backbone,
                    layers=tuple(layers),
                    embedding=embedding,
                    joint_dimension=dimension,
                    coreset_ratio=coreset_ratio,
                    resize=resize,
                    crop=crop,
                    aspect=aspect,
                )
            )
        self.feature_requests = tuple(
            request for member in self.members for request in member.feature_requests
        )
        self.input = self.members[0].input

    def fit(self, train: TrainSet, tools: Tools) -> Ensemble:
        """Store the coreset of each member."""
        for place, member in enumerate(self.members):

            def progress(done: int, total: int, place: int = place) -> None:
                tools.progress(place * total + done, len(self.members) * total)

            member.fit(train, replace(tools, progress=progress))
        return self

    def predict(self, batch: Batch) -> Outputs:
        """The members' patch embeddings and memory banks as levels."""
        outputs = [member.predict(batch) for member in self.members]
        return Outputs(
            outputs[0].input_size,
            PatchEmbeddings(tuple(o[PatchEmbeddings].levels[0] for o in outputs)),
            PatchBank(tuple(o[PatchBank].levels[0] for o in outputs)),
        )

    def chosen(self) -> Mapping[str, str | int | float]:
        """The members' embeddings and their widths."""
        found = [member.chosen() for member in self.members]
        return {name: " + ".join(str(one[name]) for one in found) for name in found[0]}


class EnsembleNearestNeighbour(Scorer):
    """Each level's nearest-neighbour scores, scaled to 0 at their minimum and 1 at their maximum.

    Image scores and maps are the means over the levels. With ``extremes`` "train" the scale is that
    of the held-out normal images or, if there are none, of the training images; scores above 1 are
    usual. With "test" it is that of all test images, as in the authors' code.
    """

    name: ClassVar[str] = "nn-ensemble"
    summary: ClassVar[str] = "Nearest-neighbour distances of several levels, on one scale."
    paper: ClassVar[str | None] = PAPER
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({PatchEmbeddings, PatchBank})
    default: ClassVar[bool] = False  # on one level, it ranks as nn

    def __init__(
        self,
        *,
        extremes: Annotated[
            Literal["train", "test"],
            "the images whose extremes set each level's scale: normal ones, or all test images "
            "(transductive)",
        ] = "train",
        distance: Distance = "euclidean",
        sigma: Sigma = 4,
    ) -> None:
        self.extremes = extremes
        self.transductive = extremes == "test"
        self.distance: Distance = distance
        self.sigma = sigma

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> None:
        if self.extremes == "train":
            held_out = list(_scales(self._scored(o) for o in outputs.validation))
            self.scales = held_out or list(_scales(self._scored(o) for o in outputs))

    def adapt(self, outputs: Iterable[Outputs]) -> None:
        self.scales = list(_scales(self._scored(o) for o in outputs))

    def score(self, outputs: Outputs) -> Scores:
        scaled = [
            ((image - low) / (high - low), (pixels - lowest) / (highest - lowest))
            for (image, pixels), ((low, high), (lowest, highest)) in zip(
                self._scored(outputs), self.scales, strict=True
            )
        ]
        images, maps = zip(*scaled, strict=True)
        return Scores(image=torch.stack(images).mean(0), map=torch.stack(maps).mean(0))

    def _scored(self, outputs: Outputs) -> list[tuple[Tensor, Tensor]]:
        """Each level's image scores [B] and smoothed maps [B, H, W]."""
        found = []
        for level, bank in zip(
            outputs[PatchEmbeddings].levels, outputs[PatchBank].levels, strict=True
        ):
            patches = MatchedPatches(level, bank, self.distance)
            grid = replace(level, values=patches.grid(patches.distances))
            smooth = gaussian_blur(overlay([grid], outputs.input_size), self.sigma)
            found.append((patches.distances[patches.worst(patches.distances)], smooth))
        return found


def _scales(
    scored: Iterable[Sequence[tuple[Tensor, Tensor]]],
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """For each level, the lowest and the highest image score, and those of the maps' pixels."""
    batches = [
        [[(float(v.min()), float(v.max())) for v in level] for level in levels] for levels in scored
    ]
    for level in zip(*batches, strict=True):
        image, pixels = (
            (min(low for low, _ in values), max(high for _, high in values))
            for values in zip(*level, strict=True)
        )
        if image[0] == image[1] or pixels[0] == pixels[1]:
            raise UserError(
                "nn-ensemble: all images that set the scale have the same score; keep fewer "
                "patches (coreset_ratio), or hold out normal images with --validation 0.1"
            )
        yield image, pixels
