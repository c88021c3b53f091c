"""SPADE: every position is compared with all positions of the most similar normal images.

Cohen, Hoshen, "Sub-Image Anomaly Detection with Deep Pyramid Correspondences", arXiv 2005.02357.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.inputs import Aspect, Crop, Resize
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    FeatureRequest,
    Features,
    ImageBank,
    ImageEmbeddings,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
)


class SPADE(Model):
    """The features of all normal images, of which the galleries of the nearest are searched."""

    name: ClassVar[str] = "spade"
    summary: ClassVar[str] = "Nearest features among all positions of the most similar images."
    paper: ClassVar[str | None] = (
        "Cohen, Hoshen, Sub-Image Anomaly Detection with Deep Pyramid Correspondences, "
        "arXiv 2005.02357"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({ImageEmbeddings, ImageBank, AnomalyMap})
    check_parameters: ClassVar[dict[str, Any]] = {"neighbours": 3, "resize": 64, "crop": None}

    def __init__(
        self,
        *,
        backbone: Annotated[str, "frozen network"] = "wide_resnet50_2",
        layers: Annotated[
            tuple[str, ...], Field(min_length=1, description="its layers that are compared")
        ] = ("layer1", "layer2", "layer3"),
        image_layer: Annotated[
            str, "its layer that finds the nearest images; a grid is averaged over its positions"
        ] = "avgpool",
        neighbours: Annotated[
            int,
            Field(ge=1, description="number of images in the gallery, K; at most all of them"),
        ] = 50,
        resize: Resize = 256,
        crop: Crop = 224,
        aspect: Aspect = "keep",
    ) -> None:
        self.layers = layers
        self.image_layer = image_layer
        self.neighbours = neighbours
        self.feature_requests = (
            FeatureRequest(backbone, tuple(dict.fromkeys((*layers, image_layer)))),
        )
        self.input = InputSpec(resize, crop, aspect)

    def fit(self, train: TrainSet, tools: Tools) -> SPADE:
        """Store the features of the training images."""
        self.extract: Features = tools.features(self.feature_requests[0])
        embeddings: list[Tensor] = []
        grids: list[Sequence[Tensor]] = []
        for batch in train.batches():
            images, layers = self._features(batch)
            embeddings.append(images)
            grids.append(layers)
        self.images = Neighbours(torch.cat(embeddings))
        self.galleries = [torch.cat(layer).flatten(1, 2) for layer in zip(*grids, strict=True)]
        return self

    def predict(self, batch: Batch) -> Outputs:
        """The images' embeddings, and each layer's distances [B, h, w] to the nearest feature."""
        height, width = batch.images.shape[-2:]
        embeddings, grids = self._features(batch)
        _, similar = self.images.search(embeddings, self.neighbours)
        levels = [
            Level(
                torch.stack(
                    [to_nearest(*each, gallery) for each in zip(grid, similar, strict=True)]
                )
            )
            for grid, gallery in zip(grids, self.galleries, strict=True)
        ]
        return Outputs(
            (height, width),
            ImageEmbeddings(embeddings),
            ImageBank(self.images),
            AnomalyMap(tuple(levels)),
        )

    def _features(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor]]:
        """The images' embeddings [B, D], and the grids [B, h, w, D] of the layers."""
        layers = self.extract(batch)
        image = layers[self.image_layer]
        grids = [layers[layer].permute(0, 2, 3, 1).contiguous() for layer in self.layers]
        return image if image.ndim == 2 else image.mean((2, 3)), grids


def to_nearest(grid: Tensor, similar: Tensor, gallery: Tensor) -> Tensor:
    """Distances [h, w] of features [h, w, D] to the nearest in a gallery's images.

    ``gallery`` [N, P, D] has the features of all images, ``similar`` [K] the images to search. A
    gallery is searched by only one image, so the work that ``Neighbours`` spends on a bank does not
    pay. The nearest feature is found by matrix products, and its distance is computed directly.
    """
    queries = grid.flatten(0, 1)
    least = queries.new_full((len(queries),), torch.inf)
    nearest = torch.empty_like(queries)
    for index in similar.tolist():
        image = gallery[index]
        scores, positions = torch.addmm(image.square().sum(1), queries, image.T, alpha=-2).min(1)
        closer = scores < least
        least[closer] = scores[closer]
        nearest[closer] = image[positions[closer]]
    return (queries - nearest).square().sum(1).sqrt().view(grid.shape[:2])
