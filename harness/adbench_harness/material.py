"""What the trials of a bundle share: images decoded and preprocessed once, features run once."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness import backbones, data, parameters
from adbench_harness.errors import ContractError
from adbench_harness.metrics import cost
from adbench_harness.pipelines import requests
from adbench_harness.plan import samples_of
from adbench_harness.plugins import Catalogue
from adbench_harness.trial import Bundle, Choice, Trial, Weights
from adbench_harness.types import GOOD, FeatureRequest, Features, InputSpec

Progress = Callable[[str, int, int], None]
PARTS = ("train", "validation", "test")


class Material:
    """A bundle's images as every model's input, its masks, and its backbones' features.

    ``seconds`` are those that the stages took so far, on the clock, and ``stage`` is the one at
    work, so that a failure can say where it happened. ``places`` are the indices of each part's
    samples.
    """

    def __init__(
        self, bundle: Bundle, catalogue: Catalogue, device: torch.device, progress: Progress
    ) -> None:
        self.bundle = bundle
        self.catalogue = catalogue
        self.device = device
        self.progress = progress
        self.stage = "load"
        self.seconds: dict[str, float] = {}
        self.root = Path(bundle.root)
        self.places: dict[str, list[int]] = {}
        self._stores: dict[tuple[str, InputSpec], backbones.FeatureStore] = {}
        self._extracting: dict[tuple[str, InputSpec], dict[str, float]] = {}

    def prepare(self) -> None:
        """Decode and preprocess every image once, and run each backbone once over them."""
        first = self.bundle.trials[0]
        with self.timed("load"):
            self.samples = samples_of(
                self.catalogue,
                first.dataset,
                self.root,
                first.category,
                first.split,
                first.split_seed,
            )
        self.places = {
            part: [i for i, sample in enumerate(self.samples) if sample.part == part]
            for part in PARTS
        }
        models = [self.build("model", trial.model) for trial in self.bundle.trials]
        with self.timed("preprocess"):
            self.preprocess = self._fitted(first.preprocessors)
        fitting = self.seconds["preprocess"]
        with self.timed("preprocess"):
            self.inputs = data.prepare(
                self.samples,
                self.preprocess,
                list(dict.fromkeys(model.input for model in models)),
                lambda done, total: self.progress("images", done, total),
            )
        # Images are decoded and preprocessed in one go; it is known what the latter took of each.
        both = self.seconds["preprocess"] - fitting
        decoding = max(0.0, both - max(map(self._preprocessing, self.inputs)))
        self.seconds["preprocess"] -= decoding
        self.seconds["load"] += decoding
        asked: dict[tuple[str, InputSpec], dict[str, None]] = {}
        for model in models:
            for request in requests(model):
                union = asked.setdefault((request.backbone, model.input), {})
                union.update(dict.fromkeys(request.layers))
        found = {w.backbone: w for trial in self.bundle.trials for w in trial.weights}
        for (name, spec), union in asked.items():
            # A model that needs a broken backbone meets the same error in its own fit.
            with suppress(Exception):
                self._extract(found[name], spec, tuple(union))

    def build(self, kind: str, choice: Choice) -> Any:
        """The component of ``choice``, constructed."""
        return parameters.build(self.catalogue, kind, choice)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add a block's seconds to its stage."""
        self.stage = stage
        start = time.perf_counter()
        try:
            yield
            cost.synchronise(self.device)
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def alone(self, model: Any) -> dict[str, float]:
        """Seconds by stage of ``prepare``, had it been for ``model`` alone."""
        spared = max(map(self._preprocessing, self.inputs)) - self._preprocessing(model.input)
        seconds = {
            "load": self.seconds["load"],
            "preprocess": max(0.0, self.seconds["preprocess"] - spared),
        }
        for store in {(request.backbone, model.input) for request in requests(model)}:
            for stage, spent in self._extracting.get(store, {}).items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return seconds

    def _preprocessing(self, spec: InputSpec) -> float:
        return float(self.inputs[spec].seconds.sum()) / data.workers()

    def _fitted(self, chain: Sequence[Choice]) -> data.Preprocess:
        """The preprocessors as one function, each fitted on the normals that those before made."""
        steps: list[data.Preprocess] = []

        def so_far(image: data.Image) -> data.Image:
            return reduce(lambda made, step: data.checked(step, made), steps, image)

        for choice in chain:
            step = self.build("preprocessor", choice)
            if hasattr(step, "fit"):
                normals = (self.samples[i] for i in self.places["train"])
                step.fit(so_far(data.decode(s.image)) for s in normals if not s.label)
            steps.append(step)
        return so_far

    def _extract(self, weights: Weights, spec: InputSpec, layers: tuple[str, ...]) -> None:
        backbone = self.build("backbone", Choice(weights.backbone, weights.version))
        store = backbones.FeatureStore(backbone, weights, self.device)
        self._stores[weights.backbone, spec] = store
        spent = self._extracting.setdefault((weights.backbone, spec), {})
        for number, part in enumerate(PARTS, 1):
            stage = f"features {part}"
            before = self.seconds.get(stage, 0.0)
            with self.timed(stage):
                store.extract(self.images(spec, part, 0), layers, len(self.samples))
            spent[stage] = self.seconds[stage] - before
            self.progress("features", number, len(PARTS))

    # ------------------------------------------------------------ what components are given

    def images(self, spec: InputSpec, part: str, seed: int) -> data.Images:
        """The images of a part; the test part in an order drawn from ``seed``."""
        places = self.places[part]
        if part == "test":
            order = np.random.default_rng([seed, 1]).permutation(len(places))
            places = [places[i] for i in order]
        return data.Images(self.inputs[spec], places, self._image_seeds(seed), self.device)

    def train(self, spec: InputSpec, trial: Trial) -> data.TrainImages:
        """What the trial's split lets ``fit`` see."""
        names = self.class_names if trial.split == "classification" else ()
        train = self.places["train"]
        return data.TrainImages(
            self.inputs[spec],
            train,
            self._image_seeds(trial.seed),
            self.device,
            {i: names.index(self.samples[i].defect) for i in train} if names else None,
            validation=self.images(spec, "validation", trial.seed),
            classes=names,
        )

    def features(self, spec: InputSpec, request: FeatureRequest) -> Features:
        """The layers that a model asks for."""
        return self._store(spec, request).serve(request)

    def trainable(self, spec: InputSpec, request: FeatureRequest) -> torch.nn.Module:
        """A copy of the network that a model may train."""
        return copy.deepcopy(self.network(spec, request)).requires_grad_(True)

    def network(self, spec: InputSpec, request: FeatureRequest) -> torch.nn.Module:
        """The network that ends at the layers that a model asks for."""
        return self._store(spec, request).network(request.layers)

    def _store(self, spec: InputSpec, request: FeatureRequest) -> backbones.FeatureStore:
        if (request.backbone, spec) not in self._stores:
            raise ContractError(
                f"the model asks for {request.backbone} {', '.join(request.layers)} without having "
                "declared it; give the model an attribute 'features' that holds this FeatureRequest"
            )
        return self._stores[request.backbone, spec]

    def auxiliary(self, spec: InputSpec, name: str, seed: int) -> data.Images:
        """The images of an auxiliary data set that a model or augmenter declared."""
        roots = dict(self.bundle.auxiliary)
        if name not in roots:
            raise ContractError(
                f"auxiliary data set '{name}' was not declared; name it in the attribute "
                "'auxiliary'"
            )
        dataset = self.catalogue.get("dataset", name)()
        root = Path(roots[name])
        samples = [s for c in dataset.categories(root) for s in dataset.samples(root, c, 0)]
        inputs = data.prepare(samples, lambda image: image, [spec], lambda *_: None)[spec]
        seeds = np.random.default_rng([seed, 3]).integers(2**63 - 1, size=len(samples))
        return data.Images(inputs, range(len(samples)), seeds, self.device, handles=False)

    def _image_seeds(self, seed: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, 2]).integers(2**63 - 1, size=len(self.samples))

    # ------------------------------------------------------------ ground truth

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Every defect type of the category, ``good`` first."""
        names = {sample.defect for sample in self.samples}
        return tuple(sorted(names, key=lambda name: (name != GOOD, name)))

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """0 normal, 1 anomalous, -1 unknown, of each test image."""
        labels = (self.samples[i].label for i in self.places["test"])
        return np.array([-1 if label is None else label for label in labels], dtype=np.int8)

    @cached_property
    def masks(self) -> dict[int, NDArray[np.bool_]]:
        """The mask of each test image whose truth by pixel is known."""
        test = self.places["test"]
        sizes = next(iter(self.inputs.values())).sizes
        threshold = self.build("dataset", self.bundle.trials[0].dataset).mask_threshold
        with ThreadPoolExecutor(data.workers()) as pool:
            found = list(pool.map(lambda i: data.mask(self.samples[i], threshold, sizes[i]), test))
        return {i: mask for i, mask in zip(test, found, strict=True) if mask is not None}
