"""Runs the trials of a bundle."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness.errors import ContractError, interrupted
from adbench_harness.images import decoding, folders, geometry
from adbench_harness.images.inputs import Images, TrainImages
from adbench_harness.images.truth import Truth
from adbench_harness.planning import plugins
from adbench_harness.planning.surroundings import Surroundings, deterministic
from adbench_harness.results.fitted import Fitted, encode
from adbench_harness.results.maps import Maps
from adbench_harness.results.store import Failure, Heading, TrialResult
from adbench_harness.results.trial import (
    NOT_KEPT,
    Bundle,
    Choice,
    EvaluationSettings,
    Trial,
)
from adbench_harness.running import contract, cost, evaluating, learned, predicting
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.running.material import Material, own_weights
from adbench_harness.running.provenance import flags, provenance
from adbench_harness.running.watch import Watch
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    Features,
    InputSpec,
    Level,
    Outputs,
    PatchEmbeddings,
    Scores,
    Tools,
    overrides,
)

LATENCY_BATCH = {"cpu": 8, "cuda": 32}


def run_bundle(bundle: Bundle, watch: Watch | None = None) -> Iterator[TrialResult]:
    """Run the bundle's trials, and yield each one's result when it is done.

    A plugin's error becomes a failed result; only the user's interrupt is raised.
    """
    with deterministic(bundle.deterministic):
        yield from _Runner(bundle, watch or Watch()).run()


def fit_bundle(bundle: Bundle, watch: Watch | None = None) -> Fitted:
    """Fit the pipeline of the bundle's only trial, and test nothing.

    Raises whatever a component raises, and UnknownStateError if what it learned is unknown.
    """
    with deterministic(bundle.deterministic):
        return _Runner(bundle, watch or Watch()).fit()


def refused(trial: Trial, failure: Failure, catalogue: plugins.Catalogue) -> TrialResult:
    """The result of a trial that has no other: it was not run, or it ended its process."""
    return TrialResult(
        trial=trial,
        status="failed",
        provenance=provenance(trial, catalogue, None, {}),
        failures=(failure,),
    )


@cache
def load(names: tuple[str, ...]) -> plugins.Catalogue:
    """The catalogue of ``names``, loaded once per process."""
    return plugins.load(names)


def device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def fit_key(trial: Trial) -> str:
    """The id of everything that a fitted model depends on."""
    shared = replace(trial, scorer=Choice("", 0), metrics=(), evaluation=EvaluationSettings())
    return replace(shared, category="", fingerprint="").id if trial.unified else shared.id


@dataclass
class _Scored:
    """What a trial has so far: scores of the test images by their index, seconds, failures."""

    trial: Trial
    scorer: Any = None
    seconds: dict[str, float] = field(default_factory=dict)
    image: dict[int, float] = field(default_factory=dict)
    maps: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    classes: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    validation: list[float] = field(default_factory=list)
    fitted: bytes = b""
    notes: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class _Runner:
    """Runs a bundle, and records how long each stage takes.

    ``model_seconds`` has the seconds by stage that a fit's scorers share; each ``_Scored`` has its
    own. ``accounted`` has the seconds of wall time by stage that earlier results already reported.
    """

    def __init__(self, bundle: Bundle, watch: Watch) -> None:
        self.started = time.perf_counter()
        self.bundle = bundle
        self.watch = watch
        self.device = device(bundle.device)
        self.catalogue = load(bundle.plugins)
        self.surroundings = Surroundings()
        self.material = Material(bundle, self.catalogue, self.device, watch.stage)
        self.memory = cost.Memory(self.device)
        self.peak = 0.0
        self.curves: dict[str, NDArray[np.float64]] = {}
        self.model_seconds: dict[str, float] = {}
        self.accounted: dict[str, float] = {}
        self.served: dict[FeatureRequest, None] = {}

    def run(self) -> Iterator[TrialResult]:
        for result in self.results():
            yield replace(result, seconds_shared=self.seconds_shared())
            self.started = time.perf_counter()

    def results(self) -> Iterator[TrialResult]:
        self.watch.running(self.bundle.trials)
        try:
            with self.memory.watch() as peak:
                self.material.prepare()
                self.peak = peak()
        except BaseException as error:
            if interrupted(error):
                raise
            for trial in self.bundle.trials:
                yield self.failed(trial, error, dict(self.material.seconds))
            return
        fits: dict[str, list[Trial]] = {}
        for trial in self.bundle.trials:
            fits.setdefault(fit_key(trial), []).append(trial)
        for trials in fits.values():
            self.surroundings.restore()
            yield from self.run_fit(trials)
        self.surroundings.restore()

    def fit(self) -> Fitted:
        """Fit the model and the scorer of the only trial."""
        (trial,) = self.bundle.trials
        self.material.prepare()
        _seed_everything(trial.seed)
        model = self.fitted(trial)
        one = _Scored(trial)
        self.fit_scorers(model, [one])
        if one.failures:
            raise ContractError(one.failures[0].message)
        return self.pipeline(model, trial, one.scorer)

    def run_fit(self, trials: Sequence[Trial]) -> Iterator[TrialResult]:
        """Fit one model, run every scorer on it, and yield a result for each trial."""
        first = trials[0]
        self.watch.running(trials)
        _seed_everything(first.seed)
        self.model_seconds = {}
        scored = [_Scored(trial) for trial in trials]
        try:
            with self.memory.watch() as peak:
                model = self.fitted(first)
                self.fit_scorers(model, scored)
                if self.bundle.keep_models:
                    for one in _sound(scored):
                        self.keep(model, one)
                categories = dict.fromkeys(one.trial.category for one in scored)
                by_category = [
                    [one for one in scored if one.trial.category == category]
                    for category in categories
                ]
                for some in by_category:
                    self.hold_out(_fresh(model), some)
                for some in by_category:
                    self.predict(_fresh(model), some)
                highest = max(self.peak, peak())
            with self.watch.alone():
                timed = [self.measure(model, some) for some in by_category]
            for some, (predict, outputs) in zip(by_category, timed, strict=True):
                self.count(model, some, predict, outputs)
        except BaseException as error:
            if interrupted(error):
                raise
            for one in scored:
                yield self.failed(one.trial, error, self.model_seconds | one.seconds)
            return
        for one in scored:
            one.metrics["peak_mb"] = highest
            self.watch.running([one.trial])
            if not one.failures:
                self.evaluate(model.input, one)
            try:
                result = self.result(model, one)
            except BaseException as error:
                if interrupted(error):
                    raise
                result = self.failed(one.trial, error, self.model_seconds | one.seconds, "result")
            yield result

    @contextmanager
    def own(self, stage: str, one: _Scored, scored: Sequence[_Scored]) -> Iterator[None]:
        """Record an error of the scorer of ``one`` of the ``scored`` trials as its failure only."""
        if len(scored) > 1:
            self.watch.running([one.trial])
        with _guarded(stage, one):
            yield
        if len(scored) > 1:
            self.surroundings.restore()
            self.watch.running([other.trial for other in scored])

    @contextmanager
    def timed(self, stage: str, book: dict[str, float]) -> Iterator[None]:
        """Add a block's seconds to its stage, in the bundle's wall time and in ``book``."""
        before = self.material.seconds.get(stage, 0.0)
        try:
            with self.material.timed(stage):
                yield
        finally:
            elapsed = self.material.seconds[stage] - before
            book[stage] = book.get(stage, 0.0) + elapsed

    def seconds_shared(self) -> dict[str, float]:
        """Seconds of wall time by stage since the previous result, including ``other``."""
        seconds = dict(self.material.seconds)
        elapsed = {s: seconds[s] - self.accounted.get(s, 0.0) for s in seconds}
        self.accounted = seconds
        other = time.perf_counter() - self.started - sum(elapsed.values())
        return {stage: value for stage, value in elapsed.items() if value} | {"other": other}

    # ------------------------------------------------------------ fit and predict

    def fitted(self, trial: Trial) -> Any:
        model = self.material.build("model", trial.model)
        self.model_seconds |= self.material.seconds_alone(model)
        spec = model.input
        train = self.material.train(model, trial)
        augmenter = self.material.build("augmenter", trial.augmenter) if trial.augmenter else None
        folder = self.bundle.checkpoints
        checkpoint = FileCheckpoint(Path(folder) / f"{fit_key(trial)}.pt" if folder else None)
        self.served.clear()

        def features(request: FeatureRequest) -> Features:
            self.served[request] = None
            return self.material.features(spec, request)

        tools = Tools(
            device=self.device,
            generator=torch.Generator().manual_seed(trial.seed),
            augmenter=augmenter,
            features=features,
            trainable=lambda request: self.material.trainable(spec, request),
            auxiliary=lambda name: self.material.auxiliary(spec, name, trial.seed),
            weights=lambda name: own_weights(trial, name),
            progress=lambda done, total: self.watch.stage("fit", done, total),
            log=checkpoint.log,
            checkpoint=checkpoint,
        )
        with self.timed("fit", self.model_seconds):
            if augmenter is not None:
                augmenter.fit(train, tools)
            model.fit(train, tools)
        checkpoint.clear()
        self.curves = {name: np.array(values) for name, values in checkpoint.curves.items()}
        return model

    def fit_scorers(self, model: Any, scored: Sequence[_Scored]) -> None:
        for one in scored:
            with self.own("scorer fit", one, scored):
                one.scorer = self.material.build("scorer", one.trial.scorer)
                if overrides(one.scorer, "fit"):
                    # What earlier scorers drew must not change what this one draws.
                    _seed_everything(one.trial.seed)
                    train = self.material.train(model, one.trial)
                    with self.timed("scorer fit", one.seconds):
                        one.scorer.fit(
                            FittedOutputs(_fresh(model), train),
                            torch.Generator().manual_seed(one.trial.seed),
                        )
                if one.scorer.transductive:
                    images = self.material.test_images(model, one.trial)
                    with self.timed("scorer fit", one.seconds):
                        one.scorer.adapt(_outputs(_fresh(model), images))

    def keep(self, model: Any, one: _Scored) -> None:
        """Keep the fitted pipeline of a trial, or a note that says why it cannot be kept."""
        try:
            one.fitted = encode(self.pipeline(model, one.trial, one.scorer))
        except learned.UnknownStateError as error:
            one.notes.append(f"{NOT_KEPT}: {error}")

    def pipeline(self, model: Any, trial: Trial, scorer: Any) -> Fitted:
        """What each part of the pipeline learned. Raises UnknownStateError."""
        heights, widths = self.material.train_sizes(model.input)
        return Fitted(
            predicting.take(trial, model, scorer, self.material.steps, self.catalogue),
            heights,
            widths,
            self.material.samples[0].depth,
        )

    def hold_out(self, model: Any, scored: Sequence[_Scored]) -> None:
        """Score the held-out normal images of the trials' category, for thresholds."""
        for batch in self.material.validation(model, scored[0].trial, own=True).batches():
            with self.timed("predict", self.model_seconds):
                outputs = _predicted(model, batch)
                contract.check_outputs(outputs, model.emits, len(batch))
            for one in scored:
                if not one.failures:
                    before = contract.versions(outputs)
                    with self.own("score", one, scored):
                        scores = self.scores(one, outputs, len(batch))
                        if scores.image is not None:
                            one.validation += scores.image.float().tolist()
                    if contract.versions(outputs) != before:
                        outputs = _predicted(model, batch)

    def predict(self, model: Any, scored: Sequence[_Scored]) -> None:
        """Score the test images of the trials' category."""
        images = self.material.test_images(model, scored[0].trial)
        done = 0
        for batch in images.batches():
            with self.timed("predict", self.model_seconds):
                outputs = _predicted(model, batch)
                contract.check_outputs(outputs, model.emits, len(batch), shared=not done)
            indices = images.indices(batch)
            for one in scored:
                if not one.failures:
                    before = contract.versions(outputs)
                    with self.own("score", one, scored):
                        self.score(one, outputs, indices)
                        contract.check_unchanged(outputs, before)
                    if contract.versions(outputs) != before:
                        outputs = _predicted(model, batch)
            done += len(batch)
            self.watch.stage("score", done, len(images))

    def scores(self, one: _Scored, outputs: Outputs, count: int) -> Scores:
        with self.timed("score", one.seconds), torch.no_grad():
            scores: Scores = one.scorer.score(outputs)
        contract.check_scores(scores, count, outputs.input_size)
        return scores

    def score(self, one: _Scored, outputs: Outputs, indices: Sequence[int]) -> None:
        scores = self.scores(one, outputs, len(indices))
        kept: tuple[tuple[Any, dict[int, Any]], ...] = (
            (scores.image, one.image),
            (scores.map, one.maps),
            (scores.classes, one.classes),
        )
        for values, by_index in kept:
            if values is not None:
                by_index.update(zip(indices, values.float().cpu().numpy(), strict=True))
        one.class_names = scores.class_names

    # ------------------------------------------------------------ cost

    def measure(
        self, model: Any, scored: Sequence[_Scored]
    ) -> tuple[Callable[[], Outputs], Outputs]:
        """Measure the latency from a decoded image to scores, without a cache.

        What the scorers share is measured once and added to the cost of each trial. Returns how the
        outputs for a single image are predicted, and these outputs.
        """
        model = _fresh(model)
        spec, trial = model.input, scored[0].trial
        test = self.material.test(trial)
        batched = min(LATENCY_BATCH[self.device.type], len(test))
        with self.timed("cost", self.model_seconds):
            images = self.material.test_images(model, replace(trial, seed=0))
            first = self.material.samples[test[0]]
            photograph = decoding.decode(first.image, first.depth)
            before, _ = cost.milliseconds(
                lambda: geometry.to_input(self.material.preprocess(photograph), spec), self.device
            )
        single: list[tuple[Callable[[], Outputs], Outputs]] = []
        for column, size, repeats in (
            ("ms_per_image", 1, 3),
            # A large batch takes long enough on a CPU to be timed once; single images warmed it up.
            ("ms_per_image_batched", batched, 1 if self.device.type == "cpu" else 3),
        ):
            batch = replace(images.batch(test[:size]), handles=None)
            with self.timed("cost", self.model_seconds):
                predict = partial(_predicted, model, batch)
                elapsed, outputs = cost.milliseconds(predict, self.device, repeats)
                shared = before + elapsed / size
            single.append((predict, outputs))
            for one in _sound(scored):
                with self.costing(one, scored):
                    work = partial(_score_afresh, one.scorer, outputs)
                    score, _ = cost.milliseconds(work, self.device, repeats)
                    one.metrics[column] = shared + score / size
        return single[0]

    def count(
        self,
        model: Any,
        scored: Sequence[_Scored],
        predict: Callable[[], Outputs],
        outputs: Outputs,
    ) -> None:
        """Count FLOPs and parameters, which other work on this machine does not change."""
        with self.timed("cost", self.model_seconds):
            flops = cost.flops(predict)
            params = self.numbers(_fresh(model), scored[0].trial)
        for one in _sound(scored):
            with self.costing(one, scored):
                one.metrics["flops"] = flops + cost.flops(
                    partial(_score_afresh, one.scorer, outputs)
                )
                if params is not None:
                    one.metrics["params"] = params

    @contextmanager
    def costing(self, one: _Scored, scored: Sequence[_Scored]) -> Iterator[None]:
        """Run the scorer of ``one`` for its cost."""
        with self.timed("cost", one.seconds), self.own("cost", one, scored), torch.no_grad():
            yield

    def numbers(self, model: Any, trial: Trial) -> int | None:
        """The number of a fitted model's parameters, with frozen backbones; None if unknown."""
        declared = model.learned()
        if declared is None:
            try:
                own = learned.take(model, self.material.build("model", trial.model)).numbers
            except learned.UnknownStateError:
                return None
            if not own and not self.served:
                return None  # it has learned something, but not in a place that can be seen
        else:
            own = sum(tensor.numel() for tensor in declared)
        frozen = [self.material.network(model.input, request) for request in self.served]
        return own + sum(p.numel() for network in frozen for p in network.parameters())

    # ------------------------------------------------------------ evaluation

    def evaluate(self, spec: InputSpec, one: _Scored) -> None:
        """Compute every metric that the trial names and its scores allow; one may fail alone."""
        with self.timed("metrics", one.seconds), _guarded("metrics", one):
            seen = evaluating.evaluation(self.images(one))
            if one.maps:
                maps = [one.maps[i] for i in self.material.test(one.trial)]
                truth = self.truth(one.trial)
                seen = evaluating.with_maps(seen, maps, truth, spec, one.trial.evaluation)
            for name in one.trial.metrics:
                metric = self.catalogue.get("metric", name.partition("@")[0])
                if seen.has(metric.needs, metric.defects):
                    # Metrics share the arrays, and this package's are tested to leave them alone.
                    own = self.catalogue.offers["metric"][metric.name].plugin == plugins.BASIC
                    with (
                        _guarded(f"metric {metric.name}", one),
                        nullcontext() if own else seen.protected(),
                    ):
                        one.metrics[metric.name] = evaluating.value(metric, seen)
                        if metric.interval is not None:
                            one.intervals[metric.name] = metric.interval(seen)

    def truth(self, trial: Trial) -> Truth:
        """The ground truth by pixel of a trial's test images."""
        material, test = self.material, self.material.test(trial)
        return Truth(
            [material.samples[i] for i in test],
            [material.masks.get(i) for i in test],
            material.dataset.mask_threshold,
        )

    # ------------------------------------------------------------ results

    def result(self, model: Any, one: _Scored) -> TrialResult:
        material, spec = self.material, model.input
        test = material.test(one.trial)
        seconds = material.inputs[spec].seconds
        alone = self.model_seconds | one.seconds
        # Alone, each scorer would also have measured what was measured once for all.
        alone["cost"] = sum(book.get("cost", 0.0) for book in (self.model_seconds, one.seconds))
        maps = None
        if not one.failures:
            one.metrics["fit_seconds"] = (
                float(seconds[material.index["train"]].sum())
                + material.fitting
                + alone.get("features train", 0.0)
                + alone["fit"]
                + alone.get("scorer fit", 0.0)
            )
            if one.maps and self.bundle.keep_maps:
                with _guarded("maps", one):
                    maps = Maps(np.stack([one.maps[i] for i in test]), spec)
        chosen = model.chosen()
        contract.check_chosen(chosen)
        return TrialResult(
            trial=one.trial,
            status="failed" if one.failures else "ok",
            metrics=one.metrics,
            columns={name: self.heading(name) for name in one.metrics},
            intervals=one.intervals,
            seconds_alone=alone,
            provenance=self.provenance(one.trial, one.notes),
            flags=flags(one.trial, model, one.scorer),
            chosen=dict(chosen),
            failures=tuple(one.failures),
            images=self.images(one),
            maps=maps,
            curves=self.curves,
            fitted=b"" if one.failures else one.fitted,
        )

    def heading(self, name: str) -> Heading:
        """The heading of a cost or of a metric."""
        return cost.HEADINGS.get(name) or Heading.of(self.catalogue.get("metric", name))

    def images(self, one: _Scored) -> dict[str, NDArray[Any]]:
        """The per-image arrays of a trial, with its scores only if nothing failed."""
        material, test = self.material, self.material.test(one.trial)
        found: dict[str, NDArray[Any]] = {
            "path": np.array(
                [folders.relative(material.root, material.samples[i].image) for i in test]
            ),
            "defect": np.array([material.samples[i].defect for i in test]),
            "label": material.labels(one.trial),
        }
        if one.image and not one.failures:
            found["score"] = np.array([one.image[i] for i in test], dtype=np.float32)
        if one.validation and not one.failures:
            found["validation"] = np.array(one.validation, dtype=np.float32)
        if one.classes and not one.failures:
            found["probability"] = np.stack([one.classes[i] for i in test])
            found["class"] = np.array(one.class_names)
        return found

    def failed(
        self, trial: Trial, error: BaseException, seconds: dict[str, float], stage: str = ""
    ) -> TrialResult:
        return TrialResult(
            trial=trial,
            status="failed",
            seconds_alone=seconds,
            provenance=self.provenance(trial),
            failures=(Failure.of(stage or self.material.stage, error),),
        )

    def provenance(self, trial: Trial, said: Sequence[str] = ()) -> dict[str, Any]:
        counts: dict[str, int] = {
            split: len(chosen) for split, chosen in self.material.index.items()
        }
        notes = [*self.bundle.notes.get(trial.category, ()), *self.material.notes(trial), *said]
        found = provenance(trial, self.catalogue, self.device, counts, notes)
        if trial.category in self.bundle.unsplit:
            found["unsplit"] = self.bundle.unsplit[trial.category]
        return found | ({"deterministic": True} if self.bundle.deterministic else {})


@contextmanager
def _guarded(stage: str, one: _Scored) -> Iterator[None]:
    """Record an error of a scorer or a metric as a failure of its trial."""
    try:
        yield
    except BaseException as error:
        if interrupted(error):
            raise
        one.failures.append(Failure.of(stage, error))


def _seed_everything(seed: int) -> None:
    """Seed the global generators too, for code that draws from them against our advice."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # it is the legacy generator that must be seeded
    torch.manual_seed(seed)


@dataclass(frozen=True)
class FittedOutputs:
    """A fitted model's outputs for its training images; implements ``TrainOutputs``."""

    model: Any
    train: TrainImages

    def __iter__(self) -> Iterator[Outputs]:
        return _outputs(self.model, self.train)

    def __len__(self) -> int:
        return len(self.train)

    @property
    def validation(self) -> Iterator[Outputs]:
        """The outputs for the held-out normal images."""
        return _outputs(self.model, self.train.validation)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes if the protocol shows them."""
        return self.train.classes


def _outputs(model: Any, images: Images) -> Iterator[Outputs]:
    """A fitted model's outputs for the images."""
    for batch in images.batches():
        outputs = _predicted(model, batch)
        contract.check_outputs(outputs, model.emits, len(batch))
        outputs.classes = batch.classes
        yield outputs


def _sound(scored: Sequence[_Scored]) -> list[_Scored]:
    """The trials without a failure so far."""
    return [one for one in scored if not one.failures]


def _fresh(model: Any) -> Any:
    """The model as it was fitted: what updates itself in ``predict`` is copied first.

    So what a trial's other scorers and other categories saw cannot change its numbers.
    """
    return copy.deepcopy(model) if model.updates_in_predict else model


def _predicted(model: Any, batch: Batch) -> Outputs:
    with torch.no_grad():
        return model.predict(batch)  # type: ignore[no-any-return]  # checked before it is used


def _score_afresh(scorer: Any, outputs: Outputs) -> None:
    """Score copies of the embeddings, so that no earlier search is reused."""
    ports = dict(outputs.ports)
    if PatchEmbeddings in ports:
        levels = outputs[PatchEmbeddings].levels
        ports[PatchEmbeddings] = PatchEmbeddings(
            tuple(Level(level.values.clone(), level.box, level.valid) for level in levels)
        )
    scorer.score(Outputs(outputs.input_size, *ports.values()))
