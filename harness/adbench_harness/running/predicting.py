"""Scores new images with the pipeline that a trial fitted."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness.errors import ContractError, UserError, interrupted, reason
from adbench_harness.images import decoding, folders, geometry, inputs
from adbench_harness.planning import parameters
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.results.fitted import Fitted, Learned
from adbench_harness.results.trial import Choice, Trial
from adbench_harness.running import contract, learned
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.running.features import FeatureStore, trainable
from adbench_harness.running.material import feature_store, own_weights
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    ImageSet,
    InputSpec,
    Scores,
    Tools,
)

MODEL, SCORER, PREPROCESSOR = "model", "scorer", "preprocessor {}"
"""The names of a pipeline's parts; that of a preprocessor has its place in the chain."""


def take(
    trial: Trial, model: Any, scorer: Any, steps: Sequence[Any], catalogue: Catalogue
) -> dict[str, Learned]:
    """What each part of a fitted pipeline learned; ``steps`` are its preprocessors.

    Raises UnknownStateError if that of a part cannot be determined.
    """
    chain = enumerate(zip(steps, trial.preprocessors, strict=True))
    parts = {
        MODEL: ("model", model, trial.model),
        SCORER: ("scorer", scorer, trial.scorer),
        **{PREPROCESSOR.format(i): ("preprocessor", *step) for i, step in chain},
    }
    return {
        name: learned.take(fitted, parameters.build(catalogue, kind, choice))
        for name, (kind, fitted, choice) in parts.items()
    }


@dataclass(frozen=True)
class Prediction:
    """One image's score, and its map over the input rectangle, float32 [h, w] (None: it has none).

    ``defect`` is the class that a classifier chose. ``size`` is the image's own height and width in
    px. If it could not be scored, ``error`` says why.
    """

    path: Path
    score: float | None = None
    map: NDArray[np.float32] | None = None
    defect: str = ""
    size: tuple[int, int] = (0, 0)
    error: str = ""


@dataclass
class _Read:
    """An image that was read, or its error; ``inputs`` are uint8 [3, H, W] for each input size."""

    prediction: Prediction
    inputs: dict[InputSpec, torch.Tensor] = field(default_factory=dict)


@dataclass
class _Features:
    """A backbone's layers for new images; implements ``Features``.

    ``current`` has the batch at the inputs that differ from the model's, by their handles.
    """

    request: FeatureRequest
    store: FeatureStore
    current: dict[InputSpec, torch.Tensor]

    def __call__(self, batch: Batch) -> dict[str, torch.Tensor]:
        spec = self.request.input
        if spec is not None and batch.handles is not None:  # images as they are
            images = self.current[spec][list(batch.handles)]
            return self.store.grids(
                replace(batch, images=images, handles=None), self.request.layers
            )
        return self.store.serve(self.request)(batch)


class Predictor:
    """A trial's pipeline with what it learned.

    ``trial`` has the paths of its weights on this machine. Raises ContractError if ``fitted`` does
    not belong to it, and UserError for a pipeline that cannot score single images.
    """

    def __init__(
        self, trial: Trial, fitted: Fitted, catalogue: Catalogue, device: torch.device
    ) -> None:
        self._trial = trial
        self._catalogue = catalogue
        self._device = device
        self.depth = fitted.depth
        self.heights, self.widths = fitted.heights, fitted.widths
        self.spread: float | None = None
        """How much the first image's score moves if other random numbers are drawn for it, as a
        share of the score; None before an image was scored."""
        self._stores: dict[str, FeatureStore] = {}
        self._current: dict[InputSpec, torch.Tensor] = {}
        parts = fitted.parts
        self._model = self._put("model", trial.model, parts[MODEL])
        self._scorer = self._put("scorer", trial.scorer, parts[SCORER])
        self.steps = [
            self._put("preprocessor", choice, parts[PREPROCESSOR.format(i)])
            for i, choice in enumerate(trial.preprocessors)
        ]
        for part in (self._model, self._scorer):
            if part.transductive:
                raise UserError(
                    f"'{part.name}' scores an image by the other images of the test set, so it has "
                    "no score for a new image; name another row"
                )
        if self._model.extras:
            raise UserError(
                f"'{self._model.name}' needs further images of each sample "
                f"({', '.join(self._model.extras)}), which new images do not have; name another row"
            )

    @property
    def title(self) -> str:
        """The row's title."""
        return self._trial.title

    @property
    def components(self) -> tuple[Any, ...]:
        """The model and the scorer."""
        return self._model, self._scorer

    def networks(self) -> Iterator[torch.nn.Module]:
        """The frozen networks of the layers that the model asks for."""
        for request in self._model.feature_requests:
            if request.backbone in self._stores:
                yield self._stores[request.backbone].network(request.layers)

    @property
    def input(self) -> InputSpec:
        """How an image becomes the model's input."""
        spec: InputSpec = self._model.input
        return spec

    def trained_on(self, size: tuple[int, int]) -> bool:
        """Whether training images were as high, and as wide, as an image of ``size``."""
        (low, high), (narrow, wide) = self.heights, self.widths
        return low <= size[0] <= high and narrow <= size[1] <= wide

    def _put(self, kind: str, choice: Choice, state: Learned) -> Any:
        component = parameters.build(self._catalogue, kind, choice)
        if component.version != choice.version:
            raise UserError(
                f"'{choice.name}' has version {component.version} here, and the result was made "
                f"with version {choice.version}; run its suite again"
            )
        learned.put(component, state, self._tools())
        return component

    def _tools(self) -> Tools:
        def store(request: FeatureRequest) -> FeatureStore:
            if request.backbone not in self._stores:
                self._stores[request.backbone] = feature_store(
                    request.backbone, self._trial.weights, self._catalogue, self._device
                )
            return self._stores[request.backbone]

        def features(request: FeatureRequest) -> Features:
            return _Features(request, store(request), self._current)

        def network(request: FeatureRequest) -> torch.nn.Module:
            return trainable(store(request).network(request.layers), request)

        def auxiliary(name: str) -> ImageSet:
            raise ContractError(f"rebuild asked for the data set '{name}', which only fit may use")

        return Tools(
            device=self._device,
            generator=torch.Generator().manual_seed(self._trial.seed),
            augmenter=None,
            features=features,
            trainable=network,
            auxiliary=auxiliary,
            weights=lambda name: own_weights(self._trial, name),
            progress=lambda done, total: None,
            log=lambda name, value: None,
            checkpoint=FileCheckpoint(None),
        )

    def predict(
        self, paths: Sequence[Path], progress: Callable[[int, int], None]
    ) -> Iterator[Prediction]:
        """A prediction for each file, in order; one that cannot be read costs only itself."""
        with ThreadPoolExecutor(folders.workers()) as pool:
            for start in range(0, len(paths), inputs.BATCH):
                some = paths[start : start + inputs.BATCH]
                yield from self._batch(list(pool.map(self._read, some)))
                progress(start + len(some), len(paths))

    def _read(self, path: Path) -> _Read:
        specs = dict.fromkeys(
            [self.input, *(one.input or self.input for one in self._model.feature_requests)]
        )
        try:
            image = decoding.decode(path, self.depth)
            made = image.copy()
            for step in self.steps:
                made = inputs.checked(step, made)
            for spec in specs:
                geometry.check(path, spec, image.shape[:2])
            return _Read(
                Prediction(path, size=image.shape[:2]),
                {spec: geometry.to_input(made, spec) for spec in specs},
            )
        except BaseException as error:
            if interrupted(error):
                raise
            return _Read(Prediction(path, error=reason(error)))

    def _batch(self, read: Sequence[_Read]) -> Iterator[Prediction]:
        rows = [i for i, one in enumerate(read) if one.inputs]
        scored: dict[int, Prediction] = {}
        try:
            if rows:
                scores = self._scores([read[i].inputs for i in rows])
                for number, i in enumerate(rows):
                    scored[i] = _prediction(read[i].prediction, scores, number)
        except BaseException as error:
            if interrupted(error):
                raise
            for i in rows:
                scored[i] = Prediction(read[i].prediction.path, error=reason(error))
        for i, one in enumerate(read):
            yield scored.get(i, one.prediction)

    def _scores(self, made: Sequence[Mapping[InputSpec, torch.Tensor]]) -> Scores:
        for spec in made[0]:
            pixels = torch.stack([one[spec] for one in made])
            self._current[spec] = pixels.to(self._device).float().div_(255)
        # What a model draws for an image does not depend on the other images.
        images = self._current[self.input]
        seeds = torch.tensor([zlib.crc32(one[self.input].numpy().tobytes()) for one in made])
        scores = self.scored(images, seeds, whole=True)
        if self.spread is None:
            # Alone, since the last digits depend on the other images of a batch.
            image, seed = images[:1], seeds[:1]
            drawn = [self.scored(image, one, whole=True) for one in (seed, seed + 1)]
            self.spread = _apart(*drawn)
        return scores

    def scored(
        self, images: torch.Tensor, seeds: torch.Tensor | None = None, *, whole: bool = False
    ) -> Scores:
        """The scores of images as the model's input, float32 [B, 3, h, w] in [0, 1].

        ``whole`` images are those that were read last, which may also be there at other sizes.
        """
        count = len(images)
        if seeds is None:
            seeds = torch.zeros(count, dtype=torch.int64)
        batch = Batch(
            images=images,
            seeds=seeds.to(self._device),
            handles=tuple(range(count)) if whole else None,
            categories=(self._trial.category,) * count if self._model.category_names else (),
        )
        with torch.no_grad():
            outputs = self._model.predict(batch)
            if whole:
                contract.check_outputs(outputs, self._model.emits, count)
            scores: Scores = self._scorer.score(outputs)
        if whole:
            contract.check_scores(scores, count, outputs.input_size)
        return scores


def _apart(one: Scores, other: Scores) -> float:
    """The largest difference of two scores of one image, as a share of the first one."""
    for name in ("image", "classes", "map"):
        first, second = getattr(one, name), getattr(other, name)
        if first is not None:
            difference = float((first - second).abs().max())
            return difference / max(1e-12, float(first.abs().max()))
    return 0.0


def _prediction(read: Prediction, scores: Scores, i: int) -> Prediction:
    values = None if scores.map is None else scores.map[i].float().cpu().numpy()
    score = None if scores.image is None else float(scores.image[i])
    defect = ""
    if scores.classes is not None:
        defect = scores.class_names[int(scores.classes[i].argmax())]
    return Prediction(read.path, score, values, defect, read.size)
