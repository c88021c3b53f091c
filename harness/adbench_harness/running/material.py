"""What the trials of a bundle share: images decoded and preprocessed once, features run once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness.errors import ContractError
from adbench_harness.images import cache, decoding, folders, geometry
from adbench_harness.images.inputs import Images, Inputs, Preprocess, TrainImages, checked, prepare
from adbench_harness.planning import parameters
from adbench_harness.planning.pipelines import requests
from adbench_harness.planning.plan import samples_of
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.results.trial import Bundle, Choice, Trial
from adbench_harness.running import cost
from adbench_harness.running.features import FeatureStore, trainable
from adbench_harness.types import (
    GOOD,
    SPLITS,
    FeatureRequest,
    Features,
    InputSpec,
    Sample,
    overrides,
)

Progress = Callable[[str, int, int], None]
# Images that a backbone is given at once while others are decoded: what fills a GPU.
_AT_ONCE = 64


class Material:
    """A bundle's images as every model's input, its masks, and its backbones' features.

    ``seconds`` are those that the stages took so far, on the clock, and ``stage`` is the one at
    work, so that a failure can say where it happened. ``fitting`` are the seconds that fitting the
    preprocessors took. ``places`` are the indices of each split's samples.
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
        self.fitting = 0.0
        self.root = Path(bundle.root)
        self.places: dict[str, list[int]] = {}
        self._stores: dict[tuple[str, InputSpec], FeatureStore] = {}
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
                first.protocol,
                first.split_seed,
            )
        self.places = {
            split: [i for i, sample in enumerate(self.samples) if sample.split == split]
            for split in SPLITS
        }
        models = [self.build("model", trial.model) for trial in self.bundle.trials]
        asked = self._asked(models)
        with self.timed("preprocess"):
            self.preprocess = self._fitted(first.preprocessors)
        self.fitting = self.seconds["preprocess"] if first.preprocessors else 0.0
        with self.timed("load"):
            self.inputs, ready = self._inputs(
                self.samples,
                self.root,
                first.fingerprint,
                first.preprocessors,
                list(dict.fromkeys(model.input for model in models)),
            )
        seen = 0
        for split, places in self._splits(ready):
            for (name, spec), layers in list(asked.items()):
                try:
                    self._extract(name, spec, tuple(layers), split, places)
                except Exception:
                    # A model that needs a broken backbone meets the same error in its own fit.
                    del asked[name, spec]
            seen += len(places)
            if asked:
                self.progress("features", seen, len(self.samples))
        # Images are decoded and preprocessed in one go; it is known what the latter took of each.
        waited = self.seconds["preprocess"] - self.fitting
        decoding = max(0.0, waited - max(map(self._preprocessing, self.inputs)))
        self.seconds["preprocess"] -= decoding
        self.seconds["load"] += decoding

    def _asked(self, models: Sequence[Any]) -> dict[tuple[str, InputSpec], dict[str, None]]:
        """The union of the layers that models ask of a backbone at one input."""
        asked: dict[tuple[str, InputSpec], dict[str, None]] = {}
        for model in models:
            for request in requests(model):
                union = asked.setdefault((request.backbone, model.input), {})
                union.update(dict.fromkeys(request.layers))
        return asked

    def _extract(
        self,
        name: str,
        spec: InputSpec,
        layers: tuple[str, ...],
        split: str,
        places: Sequence[int],
    ) -> None:
        stage = f"features {split}"
        spent = self._extracting.setdefault((name, spec), {})
        before = self.seconds.get(stage, 0.0)
        with self.timed(stage):
            if (name, spec) not in self._stores:
                found = {w.backbone: w for trial in self.bundle.trials for w in trial.weights}
                backbone = self.build("backbone", Choice(name, found[name].version))
                self._stores[name, spec] = FeatureStore(backbone, found[name], self.device)
            images = Images(self.inputs[spec], places, self._image_seeds(0), self.device)
            self._stores[name, spec].extract(images, layers, len(self.samples))
        spent[stage] = spent.get(stage, 0.0) + self.seconds[stage] - before

    def _inputs(
        self,
        samples: Sequence[Sample],
        root: Path,
        fingerprint: str,
        chain: Sequence[Choice],
        specs: Sequence[InputSpec],
    ) -> tuple[dict[InputSpec, Inputs], Iterator[int]]:
        """As ``prepare``, but for what the cache has; what is made is kept there."""
        made_of = [
            fingerprint,
            # The fingerprint knows no order.
            [folders.relative(root, sample.image) for sample in samples],
            [choice.plain() for choice in chain],
            [cache.source(self.catalogue.get("preprocessor", choice.name)) for choice in chain],
        ]
        entries = {spec: cache.entry(made_of, spec) for spec in specs}
        loaded = {spec: cache.load(path, samples) for spec, path in entries.items()}
        found = {spec: inputs for spec, inputs in loaded.items() if inputs is not None}
        missing = [spec for spec in specs if spec not in found]
        if not missing:
            return found, iter(range(len(samples)))
        made, places = prepare(samples, self.preprocess if chain else _as_it_is, missing)

        def walk() -> Iterator[int]:
            yield from places
            # Files that changed since the run was planned would be kept under a false name.
            if folders.fingerprint(root, samples) == fingerprint:
                for spec, inputs in made.items():
                    cache.save(entries[spec], inputs)

        return found | made, walk()

    def _splits(self, ready: Iterator[int]) -> Iterator[tuple[str, list[int]]]:
        """Some places of a split at a time, as soon as their images are there."""
        waiting: dict[str, list[int]] = {split: [] for split in SPLITS}
        ready = self._counted(ready)
        for place in ready if _overlaps(self.device) else list(ready):
            split = self.samples[place].split
            waiting[split].append(place)
            if len(waiting[split]) == _AT_ONCE:
                yield split, waiting[split]
                waiting[split] = []
        yield from ((split, places) for split, places in waiting.items() if places)

    def _counted(self, ready: Iterator[int]) -> Iterator[int]:
        for done in range(len(self.samples) + 1):
            with self.timed("preprocess"):
                place = next(ready, None)
            if place is not None:
                self.progress("images", done + 1, len(self.samples))
                yield place

    def build(self, kind: str, choice: Choice) -> Any:
        """The component of ``choice``, constructed."""
        return parameters.build(self.catalogue, kind, choice)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add a block's seconds to its stage, but for those of stages within it."""
        outer, self.stage = self.stage, stage
        before = sum(self.seconds.values())
        start = time.perf_counter()
        try:
            yield
            cost.synchronise(self.device)
            self.stage = outer
        finally:
            within = sum(self.seconds.values()) - before
            spent = time.perf_counter() - start - within
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def alone(self, model: Any) -> dict[str, float]:
        """Seconds by stage of ``prepare``, had it been for ``model`` alone."""
        seconds = {
            "load": self.seconds["load"],
            "preprocess": self.fitting + self._preprocessing(model.input),
        }
        for store in {(request.backbone, model.input) for request in requests(model)}:
            for stage, spent in self._extracting.get(store, {}).items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return seconds

    def _preprocessing(self, spec: InputSpec) -> float:
        return float(self.inputs[spec].seconds.sum())

    def _fitted(self, chain: Sequence[Choice]) -> Preprocess:
        """The preprocessors as one function, each fitted on the normals that those before made."""
        steps: list[Preprocess] = []

        def so_far(image: geometry.Image) -> geometry.Image:
            return reduce(lambda made, step: checked(step, made), steps, image)

        for choice in chain:
            step = self.build("preprocessor", choice)
            if overrides(step, "fit"):
                normals = (self.samples[i] for i in self.places["train"])
                step.fit(so_far(decoding.decode(s.image)) for s in normals if not s.label)
            steps.append(step)
        return so_far

    # ------------------------------------------------------------ what components are given

    def images(self, spec: InputSpec, split: str, seed: int) -> Images:
        """The images of a split, those of test in an order drawn from ``seed``."""
        places = self.places[split]
        if split == "test":
            order = np.random.default_rng([seed, 1]).permutation(len(places))
            places = [places[i] for i in order]
        return Images(self.inputs[spec], places, self._image_seeds(seed), self.device)

    def train(self, spec: InputSpec, trial: Trial) -> TrainImages:
        """What the trial's protocol lets ``fit`` see."""
        names = self.class_names if trial.protocol == "classification" else ()
        train = self.places["train"]
        return TrainImages(
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
        return trainable(self.network(spec, request), request)

    def network(self, spec: InputSpec, request: FeatureRequest) -> torch.nn.Module:
        """The network that ends at the layers that a model asks for."""
        return self._store(spec, request).network(request.layers)

    def _store(self, spec: InputSpec, request: FeatureRequest) -> FeatureStore:
        if (request.backbone, spec) not in self._stores:
            raise ContractError(
                f"the model asks for {request.backbone} {', '.join(request.layers)} without having "
                "declared it; name this FeatureRequest in the model's feature_requests"
            )
        return self._stores[request.backbone, spec]

    def auxiliary(self, spec: InputSpec, name: str, seed: int) -> Images:
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
        prints = dict(pair for trial in self.bundle.trials for pair in trial.auxiliary)
        inputs, ready = self._inputs(samples, root, prints[name], (), [spec])
        deque(ready, maxlen=0)
        seeds = np.random.default_rng([seed, 3]).integers(2**63 - 1, size=len(samples))
        return Images(inputs[spec], range(len(samples)), seeds, self.device, handles=False)

    def weights(self, trial: Trial, name: str) -> Path:
        """The file of a model's own weights."""
        for weights in trial.weights:
            if weights.path is not None and weights.backbone == name:
                return Path(weights.path)
        raise ContractError(f"the weights '{name}' were not declared; name them in 'weights'")

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
        inputs = next(iter(self.inputs.values()))
        threshold = self.build("dataset", self.bundle.trials[0].dataset).mask_threshold
        with ThreadPoolExecutor(folders.workers()) as pool:
            found = list(
                pool.map(lambda i: decoding.mask(self.samples[i], threshold, inputs.size(i)), test)
            )
        return {i: mask for i, mask in zip(test, found, strict=True) if mask is not None}


def _overlaps(device: torch.device) -> bool:
    """Whether a backbone runs while later images are decoded.

    On a CPU both want the same cores: nothing is gained, and the seconds of either would grow by
    the other's.
    """
    return device.type != "cpu"


def _as_it_is(image: geometry.Image) -> geometry.Image:
    return image
