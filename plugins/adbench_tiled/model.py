"""A model and its scorer on tiles: maps of large images, put together from those of their tiles."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.inputs import Size
from adbench_harness.nn.tiles import by_tiles
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Model,
    Outputs,
    Scorer,
    Tools,
    TrainSet,
)
from adbench_tiled.tiles import TileOutputs, TrainTiles, seeds_of


class Tiled(Model):
    """The mean of the tiles' maps where they overlap.

    A tile has the size of the detector's input, and is cut from the image without resizing it, so a
    small defect keeps its pixels. What is in memory at once is a batch's images, their maps, and
    one tile of each.
    """

    name: ClassVar[str] = "tiled"
    summary: ClassVar[str] = "Any model and scorer on overlapping tiles of large images."
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})
    check_parameters: ClassVar[Mapping[str, Any]] = {
        "detector": "patchcore(resize=32,crop=none)",
        "size": 64,
    }

    def __init__(
        self,
        *,
        detector: Annotated[Model, "the model that sees tiles"] = "patchcore",  # type: ignore[assignment]
        scorer: Annotated[Scorer, "the scorer that makes the tiles' maps"] = "nn",  # type: ignore[assignment]
        overlap: Annotated[
            float, Field(ge=0, lt=1, description="share of a tile that the next one covers again")
        ] = 0.25,
        train_tiles: Annotated[
            int, Field(ge=1, description="tiles of each training image, at random places")
        ] = 4,
        size: Size = 1024,
    ) -> None:
        self.input = InputSpec(size, None, "squash")
        tile = detector.input.size
        if any(part > whole for part, whole in zip(tile, self.input.size, strict=True)):
            raise ValueError(
                f"tiles of {tile[0]} x {tile[1]} px, the detector's input, do not fit into "
                f"{self.input.size[0]} x {self.input.size[1]} px; raise size, or lower the "
                "detector's"
            )
        if detector.augmentation == "required":
            raise ValueError(
                f"detector '{detector.name}' trains on pseudo-anomalies, which are drawn on whole "
                "images"
            )
        if detector.extras or detector.transductive or scorer.transductive:
            raise ValueError(
                f"'{detector.name}' with '{scorer.name}' needs more than the pixels of a tile"
            )
        if not scorer.accepts <= detector.emits:
            raise ValueError(f"scorer '{scorer.name}' does not fit detector '{detector.name}'")
        self.detector = detector
        self.scorer = scorer
        self.overlap = overlap
        self.train_tiles = train_tiles
        self.protocols = detector.protocols - {"classification"}
        self.feature_requests = tuple(map(self._of_tiles, detector.feature_requests))
        self.weights = detector.weights
        self.auxiliary = detector.auxiliary
        self.category_names = detector.category_names

    def fit(self, train: TrainSet, tools: Tools) -> Tiled:
        """Fit the detector, then its scorer, on tiles of the training images."""
        tiles = TrainTiles(train, self.detector.input.size, self.train_tiles)
        self.detector.fit(tiles, self._tools(tools))
        self.scorer.fit(TileOutputs(self.detector, tiles), tools.generator)
        return self

    def predict(self, batch: Batch) -> Outputs:
        """The maps [B, H, W] of whole images."""
        tile = self.detector.input.size
        stride = max(1, round(min(tile) * (1 - self.overlap)))
        places = itertools.count()

        def scored(pixels: Tensor) -> Tensor:
            seeds = seeds_of(batch.seeds, next(places))
            part = replace(batch, images=pixels.contiguous(), seeds=seeds, handles=None)
            scores = self.scorer.score(self.detector.predict(part))
            if scores.map is None:
                raise ValueError(f"scorer '{self.scorer.name}' makes no maps")
            return functional.interpolate(
                scores.map.float()[:, None], tile, mode="bilinear", align_corners=False
            )

        made = by_tiles(scored, batch.images, tile, stride)[:, 0]
        size = (batch.images.shape[2], batch.images.shape[3])
        return Outputs(size, AnomalyMap((Level(made),)))

    def _of_tiles(self, request: FeatureRequest) -> FeatureRequest:
        """The request at the size of a tile; whole images never go through the backbone."""
        return replace(request, input=request.input or self.detector.input)

    def _tools(self, tools: Tools) -> Tools:
        def features(request: FeatureRequest) -> Features:
            return tools.features(self._of_tiles(request))

        def trainable(request: FeatureRequest) -> torch.nn.Module:
            return tools.trainable(self._of_tiles(request))

        return replace(tools, features=features, trainable=trainable, augmenter=None)
