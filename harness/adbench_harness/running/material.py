"""What the trials of a bundle share: decoded and preprocessed images, and features."""

from __future__ import annotations

import math
import secrets
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from adbench_harness.errors import ContractError, interrupted
from adbench_harness.images import cache, decoding, folders, geometry, masks, survey
from adbench_harness.images.inputs import (
    Extras,
    Images,
    Inputs,
    Preprocess,
    TrainImages,
    checked,
    prepare,
)
from adbench_harness.planning import parameters
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.samples import Setting, everything, indices
from adbench_harness.results.trial import Bundle, Choice, Trial, Weights
from adbench_harness.running import cost
from adbench_harness.running.features import FeatureStore, trainable
from adbench_harness.types import (
    GOOD,
    SPLITS,
    Dataset,
    FeatureRequest,
    Features,
    InputSpec,
    Model,
    Sample,
    Split,
    overrides,
)

Progress = Callable[[str, int, int], None]
# Number of images that a backbone gets at once while others are decoded; it fills a GPU.
_AT_ONCE = 64


@dataclass(frozen=True)
class _Source:
    """Images on disk, and the fingerprint that they had when the run was planned."""

    samples: Sequence[Sample]
    root: Path
    fingerprint: str

    @cached_property
    def names(self) -> list[str]:
        """The images' paths in their order, which the fingerprint does not cover."""
        return [folders.relative(self.root, sample.image) for sample in self.samples]

    def is_unchanged(self) -> bool:
        """Whether the files still have this fingerprint, by which the cache names them."""
        return folders.fingerprint(self.root, self.samples) == self.fingerprint


class Material:
    """A bundle's images as every model's input, its masks, and its backbones' features.

    ``seconds`` has the wall time of each stage so far, and ``stage`` is the current one, so that a
    failure can say where it happened. ``fitting`` is the number of seconds that fitting the
    preprocessors took, and ``steps`` are the fitted preprocessors. ``samples`` are those of all its
    categories, and ``index`` has the indices of those in each split; a sample may be in no split.
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
        self.steps: list[Any] = []
        self._said: dict[str, list[str]] = {}
        self._others = 0.0
        self.root = Path(bundle.root)
        self.samples = bundle.samples
        self.index = _index(bundle)
        self._source = _Source(self.samples, self.root, _fingerprint(bundle.trials[0]))
        self._stores: dict[tuple[str, InputSpec], FeatureStore] = {}
        self._extracting: dict[tuple[str, InputSpec], dict[str, float]] = {}

    def prepare(self) -> None:
        """Decode and preprocess every image once, and run each backbone once over them."""
        first = self.bundle.trials[0]
        models = [self.build("model", trial.model) for trial in self.bundle.trials]
        asked = self._asked(models)
        with self.timed("preprocess"):
            self.preprocess = self._fitted(first.preprocessors)
        self.fitting = self.seconds["preprocess"] if first.preprocessors else 0.0
        specs = list(dict.fromkeys(spec for model in models for spec in _specs(model)))
        if self.bundle.chains:
            self._prepare_chains(specs)
        with self.timed("load"):
            self.inputs, ready = self._inputs(self._source, first.preprocessors, specs)
            draw = secrets.randbits(63)
            self.inputs = {spec: replace(made, draw=draw) for spec, made in self.inputs.items()}
        seen = 0
        for split, chosen in self._splits(ready):
            for (name, spec), layers in list(asked.items()):
                try:
                    self._extract(name, spec, tuple(layers), split, chosen)
                except BaseException as error:
                    if interrupted(error):
                        raise
                    # A model that needs a broken backbone meets the same error in its own fit.
                    del asked[name, spec]
            seen += len(chosen)
            if asked:
                self.progress("features", seen, sum(map(len, self.index.values())))
        # Images are decoded and preprocessed in one go, but preprocessing is also timed by itself.
        waited = self.seconds["preprocess"] - self.fitting - self._others
        decoding = max(0.0, waited - max(map(self._preprocessing, self.inputs)))
        self.seconds["preprocess"] -= decoding
        self.seconds["load"] += decoding
        self._said = {name: self._seen(name) for name in set(self.bundle.categories)}

    def _asked(self, models: Sequence[Any]) -> dict[tuple[str, InputSpec], dict[str, None]]:
        """The union of the layers that models ask of a backbone at one input."""
        asked: dict[tuple[str, InputSpec], dict[str, None]] = {}
        for model in models:
            for request in model.feature_requests:
                union = asked.setdefault((request.backbone, request.input or model.input), {})
                union.update(dict.fromkeys(request.layers))
        return asked

    def _extract(
        self,
        name: str,
        spec: InputSpec,
        layers: tuple[str, ...],
        split: Split,
        chosen: Sequence[int],
    ) -> None:
        stage = f"features {split}"
        elapsed = self._extracting.setdefault((name, spec), {})
        before = self.seconds.get(stage, 0.0)
        with self.timed(stage):
            if (name, spec) not in self._stores:
                weights = [w for trial in self.bundle.trials for w in trial.weights]
                self._stores[name, spec] = feature_store(name, weights, self.catalogue, self.device)
            images = Images(self.inputs[spec], chosen, self._image_seeds(0), self.device)
            total = sum(map(len, self.index.values()))
            self._stores[name, spec].extract(images, layers, total)
        elapsed[stage] = elapsed.get(stage, 0.0) + self.seconds[stage] - before

    def _inputs(
        self, source: _Source, chain: Sequence[Choice], specs: Sequence[InputSpec]
    ) -> tuple[dict[InputSpec, Inputs], Iterator[int]]:
        """Like ``inputs.prepare``, but takes what the cache has, and stores there what it lacks."""
        samples, entries = source.samples, self._entries(source, chain, specs)
        loaded = {spec: cache.load(path, samples) for spec, path in entries.items()}
        found = {spec: inputs for spec, inputs in loaded.items() if inputs is not None}
        missing = [spec for spec in specs if spec not in found]
        if not missing:
            return found, iter(range(len(samples)))
        [made], ready = prepare(samples, [self.preprocess if chain else _as_it_is], missing)

        def walk() -> Iterator[int]:
            yield from ready
            if source.is_unchanged():
                for spec, inputs in made.items():
                    cache.save(entries[spec], inputs)

        return found | made, walk()

    def _entries(
        self, source: _Source, chain: Sequence[Choice], specs: Sequence[InputSpec]
    ) -> dict[InputSpec, Path]:
        """The cache's file for the images at each input."""
        made_of = [
            source.fingerprint,
            source.names,
            [choice.plain() for choice in chain],
            [cache.source(self.catalogue.get("preprocessor", choice.name)) for choice in chain],
        ]
        return {spec: cache.entry(made_of, spec) for spec in specs}

    def _prepare_chains(self, specs: Sequence[InputSpec]) -> None:
        """Decode each image once for all the chains of preprocessors that the run needs it for.

        The prepared images are stored in the cache, where the bundles find them. A chain that has
        to be fitted is left to its own bundle, and so are all chains if their images do not fit in
        memory. A bundle whose own images are in the cache does nothing; the next bundle whose
        images are not there prepares the remaining ones.
        """
        own = self.bundle.trials[0].preprocessors
        todo = []
        for chain in dict.fromkeys((own, *self.bundle.chains)):
            entries = self._entries(self._source, chain, specs)
            if all(path.exists() for path in entries.values()):
                if chain == own:
                    return
                continue
            steps = [self.build("preprocessor", choice) for choice in chain]
            if not any(overrides(step, "fit") for step in steps):
                todo.append((_joined(steps), entries))
        size = len(self.samples) * sum(3 * math.prod(spec.size) for spec in specs) * len(todo)
        if len(todo) < 2 or size > psutil.virtual_memory().available / 4:
            return
        with self.timed("preprocess"):
            made, ready = prepare(self.samples, [step for step, _ in todo], specs)
            for done, _ in enumerate(ready, start=1):
                self.progress("images", done, len(self.samples))
            if not self._source.is_unchanged():
                return
        with self.timed("load"):
            for (_, entries), inputs in zip(todo, made, strict=True):
                for spec, path in entries.items():
                    cache.save(path, inputs[spec])
        # Any of the chains would have waited for decoding; the rest is work for the others.
        took = sum(float(inputs[spec].seconds.sum()) for inputs in made for spec in specs)
        decoding = max(0.0, self.seconds["preprocess"] - self.fitting - took)
        self.seconds["preprocess"] -= decoding
        self.seconds["load"] += decoding
        self._others += min(took, self.seconds["preprocess"])

    def _splits(self, ready: Iterator[int]) -> Iterator[tuple[Split, list[int]]]:
        """Some indices of a split at a time, as soon as their images are ready."""
        split_of: dict[int, Split] = {i: s for s, chosen in self.index.items() for i in chosen}
        waiting: dict[Split, list[int]] = {split: [] for split in SPLITS}
        ready = self._counted(ready)
        for i in ready if _overlaps(self.device) else list(ready):
            if i not in split_of:
                continue
            split = split_of[i]
            waiting[split].append(i)
            if len(waiting[split]) == _AT_ONCE:
                yield split, waiting[split]
                waiting[split] = []
        yield from ((split, chosen) for split, chosen in waiting.items() if chosen)

    def _counted(self, ready: Iterator[int]) -> Iterator[int]:
        for done in range(len(self.samples) + 1):
            with self.timed("preprocess"):
                i = next(ready, None)
            if i is not None:
                self.progress("images", done + 1, len(self.samples))
                yield i

    def build(self, kind: str, choice: Choice) -> Any:
        """Construct the component of ``choice``."""
        return parameters.build(self.catalogue, kind, choice)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add a block's seconds to its stage, without those of stages within it."""
        outer, self.stage = self.stage, stage
        before = sum(self.seconds.values())
        start = time.perf_counter()
        try:
            yield
            cost.synchronise(self.device)
            self.stage = outer
        finally:
            within = sum(self.seconds.values()) - before
            elapsed = time.perf_counter() - start - within
            self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed

    def seconds_alone(self, model: Any) -> dict[str, float]:
        """The seconds by stage that ``prepare`` would have taken for ``model`` alone."""
        seconds = {
            "load": self.seconds["load"],
            "preprocess": self.fitting + self._preprocessing(model.input),
        }
        for store in {(r.backbone, r.input or model.input) for r in model.feature_requests}:
            for stage, elapsed in self._extracting.get(store, {}).items():
                seconds[stage] = seconds.get(stage, 0.0) + elapsed
        return seconds

    def _preprocessing(self, spec: InputSpec) -> float:
        return float(self.inputs[spec].seconds.sum())

    def _fitted(self, chain: Sequence[Choice]) -> Preprocess:
        """The preprocessors as one function; each is fitted on what the earlier ones return."""
        steps = self.steps

        so_far = _joined(steps)  # uses the steps that are in the list when it is called
        for choice in chain:
            step = self.build("preprocessor", choice)
            if overrides(step, "fit"):
                normals = (self.samples[i] for i in self.index["train"])
                step.fit(so_far(decoding.decode(s.image, s.depth)) for s in normals if not s.label)
            steps.append(step)
        return so_far

    # ------------------------------------------------------------ what components are given

    def test(self, trial: Trial) -> list[int]:
        """The indices of a trial's test images: those of its own category."""
        return self._own("test", trial)

    def test_images(self, model: Model, trial: Trial) -> Images:
        """A trial's test images, in an order drawn from its seed."""
        test = self.test(trial)
        order = np.random.default_rng([trial.seed, 1]).permutation(len(test))
        return self._images(model, [test[i] for i in order], trial.seed)

    def validation(self, model: Model, trial: Trial, *, own: bool = False) -> Images:
        """The held-out normal images, of all categories or only of the trial's ``own``."""
        chosen = self._own("validation", trial) if own else self.index["validation"]
        return self._images(model, chosen, trial.seed)

    def _own(self, split: Split, trial: Trial) -> list[int]:
        """The indices of a split's images that are of the trial's category."""
        return [i for i in self.index[split] if self.bundle.categories[i] == trial.category]

    def train(self, model: Model, trial: Trial) -> TrainImages:
        """What the trial's protocol lets ``fit`` see."""
        names = self.class_names if trial.protocol == "classification" else ()
        train = self.index["train"]
        return TrainImages(
            self.inputs[model.input],
            train,
            self._image_seeds(trial.seed),
            self.device,
            {i: names.index(self.samples[i].defect) for i in train} if names else None,
            validation=self.validation(model, trial),
            classes=names,
            **self._told(model),
        )

    def _images(self, model: Model, chosen: Sequence[int], seed: int) -> Images:
        return Images(
            self.inputs[model.input],
            chosen,
            self._image_seeds(seed),
            self.device,
            **self._told(model),
        )

    def _told(self, model: Model) -> dict[str, Any]:
        """What a model's batches have besides the images, as it declares."""
        return {
            "categories": self.bundle.categories if model.category_names else (),
            "extras": Extras(self.samples, model.extras, model.input) if model.extras else None,
        }

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
        spec = request.input or spec
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
        samples = everything(dataset, root)
        prints = dict(pair for trial in self.bundle.trials for pair in trial.auxiliary)
        inputs, ready = self._inputs(_Source(samples, root, prints[name]), (), [spec])
        deque(ready, maxlen=0)
        seeds = np.random.default_rng([seed, 3]).integers(2**63 - 1, size=len(samples))
        return Images(inputs[spec], range(len(samples)), seeds, self.device, handles=False)

    def train_sizes(self, spec: InputSpec) -> tuple[tuple[int, int], tuple[int, int]]:
        """The smallest and the largest height, and width, of the training images in px."""
        sizes = self.inputs[spec].sizes[self.index["train"]]
        low, high = sizes.min(0).tolist(), sizes.max(0).tolist()
        return (low[0], high[0]), (low[1], high[1])

    def _image_seeds(self, seed: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, 2]).integers(2**63 - 1, size=len(self.samples))

    # ------------------------------------------------------------ ground truth

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Every defect type of the category, ``good`` first."""
        names = {sample.defect for sample in self.samples}
        return tuple(sorted(names, key=lambda name: (name != GOOD, name)))

    def labels(self, trial: Trial) -> NDArray[np.int8]:
        """0 normal, 1 anomalous, -1 unknown, of each of a trial's test images."""
        labels = (self.samples[i].label for i in self.test(trial))
        return np.array([-1 if label is None else label for label in labels], dtype=np.int8)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the images."""
        dataset: Dataset = self.build("dataset", self.bundle.trials[0].dataset)
        return dataset

    @cached_property
    def masks(self) -> dict[int, NDArray[np.bool_]]:
        """The mask of each test image whose truth by pixel is known."""
        return {i: mask for i, (mask, _) in self._read_masks.items() if mask is not None}

    @cached_property
    def _read_masks(self) -> dict[int, tuple[NDArray[np.bool_] | None, tuple[str, ...]]]:
        """The mask of each test image, and the rules by which its files were read."""
        test = self.index["test"]
        inputs = next(iter(self.inputs.values()))
        threshold = self.dataset.mask_threshold
        with ThreadPoolExecutor(folders.workers()) as pool:
            found = list(
                pool.map(lambda i: masks.united(self.samples[i], threshold, inputs.size(i)), test)
            )
        return dict(zip(test, found, strict=True))

    def notes(self, trial: Trial) -> list[str]:
        """What was found in a trial's images while they were read."""
        return [*self._said.get(trial.category, ()), *self._masks_said(trial)]

    def _seen(self, category: str) -> list[str]:
        """What the pixels of a category's images show: that some are equal, or all nearly black."""
        pixels = next(iter(self.inputs.values())).pixels
        samples, digests, highest = [], [], 0
        for split, chosen in self.index.items():
            for i in chosen:
                if self.bundle.categories[i] == category:
                    samples.append(replace(self.samples[i], split=split))
                    digests.append(zlib.crc32(pixels[i].numpy().data))
                    highest = max(highest, int(pixels[i].max()))
        return [*survey.same_pixels(self.root, samples, digests), *survey.dark(highest)]

    def _masks_said(self, trial: Trial) -> list[str]:
        """What is odd about the truth by pixel of a trial's test images, if it was read."""
        if "masks" not in vars(self) or self.dataset.mask_threshold is None:  # the plan has them
            return []
        shares = {
            self.samples[i].image: float(self.masks[i].mean())
            for i in self.test(trial)
            if self.samples[i].label and i in self.masks
        }
        rules = {self.samples[i].masks: self._read_masks[i][1] for i in self.test(trial)}
        return [
            *survey.covered(shares, self.dataset.empty_masks.get(trial.category, 0)),
            *survey.ruled(rules),
        ]


def _overlaps(device: torch.device) -> bool:
    """Whether a backbone runs while later images are decoded.

    On a CPU both need the same cores: nothing is gained, and the seconds of each would include the
    other's.
    """
    return device.type != "cpu"


def _index(bundle: Bundle) -> dict[Split, list[int]]:
    """The indices of a bundle's samples in each split, drawn category by category."""
    setting = Setting.of(bundle.trials[0])
    found: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for category in dict.fromkeys(bundle.categories):
        own = [i for i, name in enumerate(bundle.categories) if name == category]
        samples = [bundle.samples[i] for i in own]
        drawn = indices(samples, Path(bundle.root), category, setting)
        for split, chosen in drawn.items():
            found[split] += [own[i] for i in chosen]
    return found


def _fingerprint(trial: Trial) -> str:
    """The fingerprint of all images of the trial's bundle."""
    return dict(trial.auxiliary)[trial.dataset.name] if trial.unified else trial.fingerprint


def _specs(model: Model) -> Iterator[InputSpec]:
    """Every ``InputSpec`` at which a model needs its images."""
    yield model.input
    yield from (request.input for request in model.feature_requests if request.input)


def _joined(steps: Sequence[Preprocess]) -> Preprocess:
    return lambda image: reduce(lambda made, step: checked(step, made), steps, image)


def _as_it_is(image: geometry.Image) -> geometry.Image:
    return image


def feature_store(
    name: str, weights: Iterable[Weights], catalogue: Catalogue, device: torch.device
) -> FeatureStore:
    """An empty store of the backbone ``name``, whose file is among the ``weights``."""
    used = {one.backbone: one for one in weights}[name]
    backbone = parameters.build(catalogue, "backbone", Choice(name, used.version))
    return FeatureStore(backbone, used, device)


def own_weights(trial: Trial, name: str) -> Path:
    """The file ``name`` of a model's own weights."""
    for weights in trial.weights:
        if weights.path is not None and weights.backbone == name:
            return Path(weights.path)
    raise ContractError(f"the weights '{name}' were not declared; name them in 'weights'")
