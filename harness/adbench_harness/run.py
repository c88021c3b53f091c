"""``run_bundle``: the one place where the work happens."""

from __future__ import annotations

import platform
import random
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness import backbones, contract, data, parameters, plugins
from adbench_harness.checkpoint import FileCheckpoint
from adbench_harness.errors import ContractError
from adbench_harness.metrics import cost
from adbench_harness.metrics.evaluation import Evaluation
from adbench_harness.plan import requests, samples_of
from adbench_harness.results import Failure, TrialResult
from adbench_harness.trial import Bundle, Choice, Trial
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Outputs,
    PatchEmbeddings,
    Sample,
    Tools,
)

Progress = Callable[[str, int, int], None]
_LATENCY_BATCH = {"cpu": 8, "cuda": 32}


def run_bundle(bundle: Bundle, progress: Progress = lambda *_: None) -> Iterator[TrialResult]:
    """Run the bundle's trials and yield each one's result as it is done; never raises for a plugin.

    ``progress`` takes (stage, done, total).
    """
    runner = _Runner(bundle, progress)
    try:
        runner.prepare()
    except Exception as error:
        for trial in bundle.trials:
            yield runner.failed(trial, runner.stage, error)
        return
    for trials in runner.fits():
        yield from runner.run_fit(trials)


@dataclass
class _Scored:
    """What one scorer said of the test images so far, or why it stopped."""

    trial: Trial
    scorer: Any
    seconds: float = 0.0
    fit_seconds: float = 0.0
    image: dict[int, float] = field(default_factory=dict)
    maps: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    classes: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class _Runner:
    def __init__(self, bundle: Bundle, progress: Progress) -> None:
        self.bundle = bundle
        self.progress = progress
        self.stage = "load"
        self.device = device(bundle.device)
        self.memory = cost.Memory(self.device)
        self.seconds: dict[str, float] = {}
        self.peak = 0.0
        self.stores: dict[tuple[str, InputSpec], backbones.FeatureStore] = {}

    # ------------------------------------------------------------ what all trials share

    def prepare(self) -> None:
        """Decode and preprocess every image once, and run each backbone once over them."""
        first = self.bundle.trials[0]
        self.catalogue = load(self.bundle.plugins)
        self.root = Path(self.bundle.root)
        self.dataset = self.build("dataset", first.dataset)
        self.samples = samples_of(
            self.catalogue, first.dataset, self.root, first.category, first.split, first.split_seed
        )
        self.places = {
            part: [i for i, sample in enumerate(self.samples) if sample.part == part]
            for part in ("train", "validation", "test")
        }
        models = {id(trial): self.build("model", trial.model) for trial in self.bundle.trials}
        specs = list(dict.fromkeys(model.input for model in models.values()))
        with self.memory.watch() as peak:
            with self.timed("preprocess"):
                self.preprocess = self.fitted_chain(first.preprocessors)
                self.inputs = data.prepare(
                    self.samples,
                    self.preprocess,
                    specs,
                    lambda done, total: self.progress("images", done, total),
                )
            self.stage = "features"
            layers: dict[tuple[str, InputSpec], dict[str, None]] = {}
            for model in models.values():
                for request in requests(model):
                    union = layers.setdefault((request.backbone, model.input), {})
                    union.update(dict.fromkeys(request.layers))
            known = {w.backbone: w for trial in self.bundle.trials for w in trial.weights}
            for (name, spec), union in layers.items():
                self.extract(name, known[name], spec, tuple(union))
            self.peak = peak()

    def extract(self, name: str, weights: Any, spec: InputSpec, layers: tuple[str, ...]) -> None:
        """Keep the layers of every image; the seconds of each part are the stage's."""
        backbone = self.build("backbone", Choice(name, weights.version))
        store = self.stores[name, spec] = backbones.FeatureStore(backbone, weights, self.device)
        for number, part in enumerate(("train", "validation", "test"), 1):
            with self.timed(f"features {part}"):
                store.extract(self.images(spec, part, 0), layers, len(self.samples))
            self.progress("features", number, 3)

    def fitted_chain(self, chain: Sequence[Choice]) -> data.Preprocess:
        """The preprocessors as one function, each fitted on the normals that the ones before made."""
        steps: list[data.Preprocess] = []
        for choice in chain:
            step = self.build("preprocessor", choice)
            if hasattr(step, "fit"):
                normals = (
                    reduce(lambda image, done: done(image), steps, data.decode(sample.image))
                    for sample in self.samples
                    if sample.part == "train" and not sample.label
                )
                step.fit(normals)
            steps.append(step)
        return lambda image: reduce(lambda made, step: step(made), steps, image)

    def build(self, kind: str, choice: Choice) -> Any:
        return parameters.build(self.catalogue, kind, choice)

    def images(self, spec: InputSpec, part: str, seed: int) -> data.Images:
        """The images of a part; the test part in an order drawn from the seed."""
        places = self.places[part]
        if part == "test":
            order = np.random.default_rng([seed, 1]).permutation(len(places))
            places = [places[i] for i in order]
        return data.Images(self.inputs[spec], places, self.image_seeds(seed), self.device)

    def image_seeds(self, seed: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, 2]).integers(2**63 - 1, size=len(self.samples))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        self.stage = stage
        start = time.perf_counter()
        yield
        cost.synchronise(self.device)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    # ------------------------------------------------------------ one fit, all its scorers

    def fits(self) -> Iterator[list[Trial]]:
        """The trials in groups that share a fitted model."""
        groups: dict[str, list[Trial]] = {}
        for trial in self.bundle.trials:
            groups.setdefault(fit_key(trial), []).append(trial)
        yield from groups.values()

    def run_fit(self, trials: Sequence[Trial]) -> Iterator[TrialResult]:
        """Fit a model, let every scorer score it, and yield a result a trial."""
        first = trials[0]
        seed_everything(first.seed)
        self.seconds = {k: v for k, v in self.seconds.items() if k not in ("fit", "predict")}
        try:
            with self.memory.watch() as peak:
                model = self.build("model", first.model)
                train = self.train(model, first)
                with self.timed("fit"):
                    self.fit(model, train, first)
                scored = [_Scored(trial, None) for trial in trials]
                self.fit_scorers(model, train, scored)
                self.predict(model, first, scored)
                peak_mb = max(self.peak, peak())
        except Exception as error:
            for trial in trials:
                yield self.failed(trial, self.stage, error)
            return
        self.measure(model, scored)
        for one in scored:
            if not one.failures:
                one.metrics["peak_mb"] = peak_mb
                self.evaluate(model.input, one)
            yield self.result(one, model.input)

    def train(self, model: Any, trial: Trial) -> data.TrainImages:
        spec, seeds = model.input, self.image_seeds(trial.seed)
        validation = data.Images(
            self.inputs[spec], self.places["validation"], seeds, self.device
        )
        names = self.class_names if trial.split == "classification" else ()
        classes = {
            place: names.index(self.samples[place].defect)
            for place in self.places["train"]
            if names
        }
        return data.TrainImages(
            self.inputs[spec],
            self.places["train"],
            seeds,
            self.device,
            classes or None,
            validation=validation,
            classes=names,
        )

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Every defect type of the category, ``good`` first where train has normals."""
        names = {sample.defect for sample in self.samples}
        return tuple(sorted(names, key=lambda name: (name != "good", name)))

    def fit(self, model: Any, train: data.TrainImages, trial: Trial) -> None:
        generator = torch.Generator().manual_seed(trial.seed)
        folder = self.bundle.checkpoints
        checkpoint = FileCheckpoint(Path(folder) / f"{fit_key(trial)}.pt" if folder else None)
        augmenter = self.build("augmenter", trial.augmenter) if trial.augmenter else None
        tools = Tools(
            device=self.device,
            generator=generator,
            augmenter=augmenter,
            features=lambda request: self.features(model.input, request),
            auxiliary=lambda name: self.auxiliary(model.input, name, trial.seed),
            progress=lambda done, total: self.progress("fit", done, total),
            checkpoint=checkpoint,
        )
        if augmenter is not None and hasattr(augmenter, "fit"):
            augmenter.fit(train, tools)
        model.fit(train, tools)
        checkpoint.clear()

    def features(self, spec: InputSpec, request: FeatureRequest) -> Features:
        if (request.backbone, spec) not in self.stores:
            raise backbones.undeclared(request)
        return self.stores[request.backbone, spec].serve(request)

    def auxiliary(self, spec: InputSpec, name: str, seed: int) -> data.Images:
        roots = dict(self.bundle.auxiliary)
        if name not in roots:
            raise ContractError(
                f"auxiliary data set '{name}' was not declared; add it to the class attribute "
                "'auxiliary'"
            )
        dataset = self.catalogue.get("dataset", name)()
        root = Path(roots[name])
        samples = [s for c in dataset.categories(root) for s in dataset.samples(root, c, 0)]
        inputs = data.prepare(samples, lambda image: image, [spec], lambda *_: None)[spec]
        seeds = np.random.default_rng([seed, 3]).integers(2**63 - 1, size=len(samples))
        return data.Images(inputs, range(len(samples)), seeds, self.device, handles=False)

    def fit_scorers(self, model: Any, train: data.TrainImages, scored: list[_Scored]) -> None:
        for one in scored:
            with self.guarded(one, "scorer fit"):
                one.scorer = self.build("scorer", one.trial.scorer)
                if hasattr(one.scorer, "fit"):
                    start = time.perf_counter()
                    one.scorer.fit(self.outputs(model, batch) for batch in train.batches())
                    one.fit_seconds = time.perf_counter() - start

    def predict(self, model: Any, trial: Trial, scored: list[_Scored]) -> None:
        images = self.images(model.input, "test", trial.seed)
        done = 0
        for batch in images.batches():
            with self.timed("predict"):
                outputs = self.outputs(model, batch)
            assert batch.handles is not None
            for one in scored:
                if not one.failures:
                    with self.guarded(one, "score"):
                        self.score(one, outputs, batch.handles)
            done += len(batch)
            self.progress("score", done, len(images))

    def outputs(self, model: Any, batch: Batch) -> Outputs:
        with torch.no_grad():
            outputs = model.predict(batch)
        contract.check_outputs(outputs, model.emits, len(batch))
        return outputs  # type: ignore[no-any-return]  # checked

    def score(self, one: _Scored, outputs: Outputs, places: Sequence[int]) -> None:
        start = time.perf_counter()
        with torch.no_grad():
            scores = one.scorer.score(outputs)
        cost.synchronise(self.device)
        one.seconds += time.perf_counter() - start
        contract.check_scores(scores, len(places))
        for values, kept in (
            (scores.image, one.image),
            (scores.map, one.maps),
            (scores.classes, one.classes),
        ):
            if values is not None:
                kept.update(zip(places, values.float().cpu().numpy(), strict=True))
        one.class_names = scores.class_names

    @contextmanager
    def guarded(self, one: _Scored, stage: str) -> Iterator[None]:
        """Whatever a scorer or a metric raises is its own trial's failure."""
        try:
            yield
        except Exception as error:
            one.failures.append(failure(stage, error))

    # ------------------------------------------------------------ cost

    def measure(self, model: Any, scored: Sequence[_Scored]) -> None:
        """Latency and FLOPs, from a decoded image to scores, nothing cached or shared."""
        self.stage = "cost"
        alive = [one for one in scored if not one.failures]
        if not alive:
            return
        spec = model.input
        test = self.places["test"]
        images = self.images(spec, "test", 0)
        sizes = (1, min(_LATENCY_BATCH[self.device.type], len(test)))
        image = data.decode(self.samples[test[0]].image)
        before = cost.milliseconds(
            lambda: data.to_input(self.preprocess(image), spec), torch.device("cpu")
        )
        learned = model.learned() if hasattr(model, "learned") else ()
        params = sum(tensor.numel() for tensor in learned) + sum(
            parameter.numel()
            for request in requests(model)
            for parameter in self.stores[request.backbone, spec]
            .network(request.layers)
            .parameters()
        )
        for column, size in zip(("ms_per_image", "ms_per_image_batched"), sizes, strict=True):
            batch = replace(images.batch(test[:size]), handles=None)
            outputs = self.outputs(model, batch)
            repeats = 5 if size == 1 else 2
            predict = cost.milliseconds(
                lambda batch=batch: self.outputs(model, batch), self.device, repeats
            )
            for one in alive:
                with self.guarded(one, "cost"), torch.no_grad():
                    score = cost.milliseconds(
                        lambda one=one, outputs=outputs: one.scorer.score(_unshared(outputs)),
                        self.device,
                        repeats,
                    )
                    one.metrics[column] = before + (predict + score) / size
                    if size == 1:
                        one.metrics["params"] = params
                        one.metrics["flops"] = cost.flops(
                            lambda one=one, batch=batch: one.scorer.score(
                                self.outputs(model, batch)
                            )
                        )

    # ------------------------------------------------------------ evaluation

    def evaluate(self, spec: InputSpec, one: _Scored) -> None:
        """Every metric that the trial names and the scores allow; each one's failure is its own."""
        self.stage = "metrics"
        start = time.perf_counter()
        evaluation = self.evaluation(spec, one)
        for name in one.trial.metrics:
            metric = self.catalogue.get("metric", name.partition("@")[0])
            if evaluation.has(metric.needs):
                with self.guarded(one, f"metric {metric.name}"):
                    one.metrics[metric.name] = float(metric.compute(evaluation))
        self.seconds["metrics"] = time.perf_counter() - start

    def evaluation(self, spec: InputSpec, one: _Scored) -> Evaluation:
        test = self.places["test"]
        labels = np.array([_label(self.samples[place]) for place in test], dtype=np.int8)
        maps = masks = predicted = true = None
        switches = one.trial.evaluation
        if one.maps:
            known = [(place, mask) for place in test if (mask := self.mask(place)) is not None]

            def meet(pair: tuple[int, NDArray[np.bool_]]) -> tuple[Any, Any]:
                return data.meet(one.maps[pair[0]], pair[1], spec, switches)

            with ThreadPoolExecutor(data.workers()) as pool:
                met = list(pool.map(meet, known))
            if met:
                maps, masks = zip(*met, strict=True)
        if one.classes:
            names = list(one.class_names)
            predicted = np.array([int(one.classes[place].argmax()) for place in test])
            true = np.array([names.index(self.samples[place].defect) for place in test])
        scores = [one.image[place] for place in test] if one.image else None
        return Evaluation(
            labels=labels,
            scores=None if scores is None else np.array(scores, dtype=np.float32),
            maps=maps,
            masks=masks,
            predicted=predicted,
            true=true,
            classes=one.class_names,
        )

    def mask(self, place: int) -> NDArray[np.bool_] | None:
        return self.masks[place]

    @cached_property
    def masks(self) -> dict[int, NDArray[np.bool_] | None]:
        sizes = next(iter(self.inputs.values())).sizes
        threshold = self.dataset.mask_threshold
        test = self.places["test"]
        with ThreadPoolExecutor(data.workers()) as pool:
            found = pool.map(lambda i: data.mask(self.samples[i], threshold, sizes[i]), test)
            return dict(zip(test, found, strict=True))

    # ------------------------------------------------------------ results

    def result(self, one: _Scored, spec: InputSpec) -> TrialResult:
        metrics = dict(one.metrics)
        inputs = self.inputs[spec]
        train = self.places["train"]
        stages = {
            "preprocess": float(inputs.seconds.sum()) / data.workers(),
            **{k: v for k, v in self.seconds.items() if k not in ("preprocess", "cost")},
            "scorer fit": one.fit_seconds,
            "score": one.seconds,
        }
        if not one.failures:
            metrics["fit_seconds"] = (
                float(inputs.seconds[train].sum()) / data.workers()
                + self.seconds.get("features train", 0.0)
                + self.seconds["fit"]
                + one.fit_seconds
            )
        test = self.places["test"]
        images: dict[str, NDArray[Any]] = {
            "path": np.array([data.relative(self.root, self.samples[i].image) for i in test]),
            "defect": np.array([self.samples[i].defect for i in test]),
            "label": np.array([_label(self.samples[i]) for i in test], dtype=np.int8),
        }
        complete = len(test)
        if len(one.image) == complete:
            images["score"] = np.array([one.image[i] for i in test], dtype=np.float32)
        if len(one.classes) == complete:
            images["probability"] = np.stack([one.classes[i] for i in test])
            images["class"] = np.array(one.class_names)
        keep = self.bundle.keep_maps and len(one.maps) == complete
        return TrialResult(
            trial=one.trial,
            status="failed" if one.failures else "ok",
            metrics=metrics,
            stages=stages,
            provenance=self.provenance(one.trial),
            flags=flags(one.trial, one.scorer),
            failures=tuple(one.failures),
            images=images,
            maps=_quantised(np.stack([one.maps[i] for i in test]), spec) if keep else {},
        )

    def failed(self, trial: Trial, stage: str, error: Exception) -> TrialResult:
        return TrialResult(
            trial=trial,
            status="failed",
            provenance=self.provenance(trial),
            failures=(failure(stage, error),),
        )

    def provenance(self, trial: Trial) -> dict[str, Any]:
        """All that one needs to know to run the trial again, beyond the trial itself."""
        counts = getattr(self, "places", {})
        return {
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "plugins": {
                plugin.name: plugin.origin for plugin in load(self.bundle.plugins).plugins.values()
            },
            "commit": commit(),
            "images": {part: len(places) for part, places in counts.items()},
            "weights": [asdict(replace(w, path=None)) for w in trial.weights],
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


# ---------------------------------------------------------------- small things


@cache
def load(names: tuple[str, ...]) -> plugins.Catalogue:
    """The catalogue of ``names``, loaded once a process."""
    return plugins.load(names)


def device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def fit_key(trial: Trial) -> str:
    """The id of everything that a fitted model depends on."""
    blank = Choice("", 0)
    return replace(trial, scorer=blank, metrics=(), evaluation=type(trial.evaluation)()).id


def seed_everything(seed: int) -> None:
    """Seed the global generators too, for code that draws from them against our advice."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the legacy generator is the one to be seeded
    torch.manual_seed(seed)


def failure(stage: str, error: Exception) -> Failure:
    """What a result keeps of an exception."""
    message = str(error).strip().splitlines()
    name = "" if isinstance(error, ContractError) else f"{type(error).__name__}: "
    trace = "".join(traceback.format_exception(error))
    return Failure(stage, name + (message[0] if message else "no message"), trace)


def flags(trial: Trial, scorer: Any) -> tuple[str, ...]:
    """Marks of a row that say why its numbers may not compare with others'."""
    found = [f"unverified weights {w.backbone}" for w in trial.weights if not w.verified]
    if trial.evaluation.border != "full":
        found.append(f"border={trial.evaluation.border}")
    if trial.evaluation.size is not None:
        found.append(f"size={trial.evaluation.size}")
    if getattr(scorer, "transductive", False):
        found.append("transductive")
    return tuple(found)


@cache
def commit() -> str | None:
    """The git commit of the harness's own checkout, with ``+`` where it has been changed since."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        inside = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() if inside.returncode == 0 else None


def _label(sample: Sample) -> int:
    return -1 if sample.label is None else sample.label


def _unshared(outputs: Outputs) -> Outputs:
    """The outputs with embeddings of their own, which no search has been made for yet."""
    ports = dict(outputs.ports)
    if PatchEmbeddings in ports:
        levels = outputs[PatchEmbeddings].levels
        ports[PatchEmbeddings] = PatchEmbeddings(
            tuple(Level(level.values.clone(), level.box, level.valid) for level in levels)
        )
    return Outputs(outputs.input_size, *ports.values())


def _quantised(maps: NDArray[np.float32], spec: InputSpec) -> dict[str, NDArray[Any]]:
    """All maps of a trial on one linear 16-bit scale, with what is needed to place them again."""
    low, high = float(maps.min()), float(maps.max())
    scale = (high - low) or 1.0
    return {
        "map": np.round((maps - low) / scale * 65535).astype(np.uint16),
        "low": np.array(low, dtype=np.float32),
        "high": np.array(high, dtype=np.float32),
        "input": np.array([spec.resize, spec.crop or 0, spec.aspect == "squash"]),
    }


