"""Forms trials and bundles from a suite and a catalogue; reports all mistakes of the user."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from adbench_harness.errors import UserError, nearest
from adbench_harness.planning import axes
from adbench_harness.planning.axes import Axes
from adbench_harness.planning.components import BrokenError, Components, guarded
from adbench_harness.planning.data import Data, Subset, SubsetImages, settings
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.pipelines import Pipeline, Pipelines
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.samples import Setting
from adbench_harness.planning.suite import Suite, validate
from adbench_harness.results.store import Failure
from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial, Weights

Chain = tuple[Choice, ...]


@dataclass(frozen=True)
class Plan:
    """Every trial of the suite, the bundles that they form, what was left out, and notes.

    ``failed`` has, by trial id, the failures of an author's code while trials were planned. These
    trials are in no bundle.
    """

    trials: tuple[Trial, ...]
    bundles: tuple[Bundle, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    failed: Mapping[str, Failure] = field(default_factory=dict)

    def left(self, finished: Collection[str]) -> tuple[Bundle, ...]:
        """The bundles without the trials whose ids are in ``finished``; no bundle is empty."""
        left = (
            replace(bundle, trials=tuple(t for t in bundle.trials if t.id not in finished))
            for bundle in self.bundles
        )
        return tuple(bundle for bundle in left if bundle.trials)

    def broken(self, finished: Collection[str]) -> tuple[Trial, ...]:
        """The trials whose ids are in ``failed`` and not in ``finished``."""
        return tuple(t for t in self.trials if t.id in self.failed and t.id not in finished)


def make(
    suite: Suite,
    catalogue: Catalogue,
    locations: Locations,
    *,
    device: str = "auto",
    deterministic: bool = False,
    checkpoints: str | None = None,
) -> Plan:
    """The plan of ``suite``. Raises UserError.

    If an author's code raises another error, only the trials that need that code fail.
    """
    suite = with_recipe(suite, catalogue)
    planner = _Planner(suite, catalogue, locations)
    trials: dict[str, Trial] = {}
    bundles: list[Bundle] = []
    failed: dict[str, Failure] = {}
    for group in planner.groups():
        new = {trial.id: trial for trial in group.trials if trial.id not in trials}
        trials |= new
        failed |= group.failed
        sound = tuple(trial for id_, trial in new.items() if id_ not in failed)
        if sound:
            bundle = Bundle(
                plugins=tuple(_anywhere(p) for p in suite.plugins if p not in catalogue.broken),
                root=str(group.root),
                trials=sound,
                samples=group.images.samples,
                categories=group.images.categories,
                device=device,
                deterministic=deterministic,
                keep_maps=suite.keep_maps,
                keep_models=suite.keep_models,
                checkpoints=checkpoints,
                auxiliary=planner.data.auxiliary_roots(sound),
                chains=group.others,
                notes=group.images.notes,
                unsplit=group.images.unsplit,
            )
            bundles.append(bundle)
    pipelines = planner.pipelines
    return Plan(
        tuple(trials.values()),
        tuple(bundles),
        tuple(pipelines.left_out),
        (*pipelines.notes, *dict.fromkeys(planner.data.notes)),
        failed,
    )


def _anywhere(plugin: str) -> str:
    """A plugin's name, or the absolute path of its file, for a process in another folder."""
    return str(Path(plugin).resolve()) if plugin.endswith(".py") else plugin


def with_recipe(suite: Suite, catalogue: Catalogue) -> Suite:
    """The suite with its recipe's settings for every key that the user did not set."""
    if suite.recipe is None:
        return suite
    recipe = catalogue.get("recipe", suite.recipe)
    base = validate({**recipe.suite, "plugins": suite.plugins}, f"recipe '{suite.recipe}'")
    written = {key: getattr(suite, key) for key in suite.model_fields_set}
    settings = base.evaluation.model_copy(update=suite.evaluation.model_dump(exclude_unset=True))
    merged = {"set": base.set | suite.set, "evaluation": settings}
    return base.model_copy(update=written | merged)


@dataclass(frozen=True)
class _Group:
    """Trials that share images and preprocessors; ``others`` are the other chains."""

    root: Path
    images: SubsetImages
    others: tuple[Chain, ...]
    trials: Sequence[Trial]
    failed: Mapping[str, Failure]


@dataclass(frozen=True)
class _Ready:
    """A pipeline with everything that its trials have in common."""

    pipeline: Pipeline
    weights: tuple[Weights, ...]
    auxiliary: tuple[tuple[str, str], ...]
    failure: Failure | None = None


class _Planner:
    def __init__(self, suite: Suite, catalogue: Catalogue, locations: Locations) -> None:
        self.suite = suite
        self.catalogue = catalogue
        self.components = Components(catalogue)
        self.axes = Axes(suite, self.components)
        self.pipelines = Pipelines(suite, self.axes, locations)
        self.data = Data(suite, self.components, locations)
        self.evaluation = EvaluationSettings(**suite.evaluation.model_dump())
        self.metrics = tuple(
            f"{metric.name}@{metric.version}" for metric in catalogue.metrics(suite.metrics)
        )
        self.files = catalogue.files

    def groups(self) -> Iterator[_Group]:
        """The trials in groups that share images and preprocessors."""
        pipelines = self.pipelines.all()
        chains = {chain: self._broken(chain) for chain in self.axes.chains("preprocessor")}
        subsets = self.data.subsets(self.axes.datasets())
        if not self.pipelines.broken:  # otherwise it is unknown what would have been used
            self.axes.check_settings()
            # A recipe's overrides may be for categories that are not run now.
            if self.suite.recipe is None and not any(subset.failure for subset in subsets):
                self._check_overrides(pipelines)
        ready = [self._ready(pipeline) for pipeline in pipelines]
        for subset in subsets:
            tuned = {name: self._tuned(pipelines, name) or ready for name in subset.categories}
            for split_seed in self.suite.split_seeds:
                images = self.data.images(subset, split_seed)
                for setting, chain in itertools.product(settings(self.suite, split_seed), chains):
                    trials, failed = [], {}
                    for category in subset.categories:
                        for one, seed in itertools.product(tuned[category], self.suite.seeds):
                            trial = self._trial(subset, category, images, setting, chain, one, seed)
                            trials.append(trial)
                            if failure := images.failure or chains[chain] or one.failure:
                                failed[trial.id] = failure
                    others = tuple(c for c, broken in chains.items() if c != chain and not broken)
                    yield _Group(subset.root, images, others, trials, failed)

    def _broken(self, chain: Chain) -> Failure | None:
        """Why a chain of preprocessors cannot run."""
        try:
            for choice in chain:
                self.components.get("preprocessor", choice)
        except BrokenError as error:
            return error.failure
        return None

    def _ready(self, pipeline: Pipeline) -> _Ready:
        weights: tuple[Weights, ...] = ()
        auxiliary: tuple[tuple[str, str], ...] = ()
        try:
            with guarded():
                weights = self.pipelines.weights(pipeline.model)
                names = {*self.components.get("model", pipeline.model).auxiliary}
                if pipeline.augmenter:
                    names |= {*self.components.get("augmenter", pipeline.augmenter).auxiliary}
                auxiliary = tuple((name, self.data.auxiliary(name)) for name in sorted(names))
                self.components.get("scorer", pipeline.scorer)
        except BrokenError as error:
            return _Ready(pipeline, weights, auxiliary, error.failure)
        return _Ready(pipeline, weights, auxiliary)

    def _tuned(self, pipelines: Iterable[Pipeline], category: str) -> list[_Ready] | None:
        """The pipelines with the suite's overrides for ``category``, if there are any."""
        written = self.suite.overrides.get(category)
        if not written:
            return None
        changes = axes.settings(self.components, written, f"overrides.{category}")

        @cache
        def tuned(kind: str, choice: Choice) -> Choice:
            return axes.retuned(self.components, kind, choice, changes)

        return [
            self._ready(
                Pipeline(
                    pipe.augmenter and tuned("augmenter", pipe.augmenter),
                    tuned("model", pipe.model),
                    tuned("scorer", pipe.scorer),
                )
            )
            for pipe in pipelines
        ]

    def _check_overrides(self, pipelines: Iterable[Pipeline]) -> None:
        """Raise UserError for an override that would change nothing."""
        used = {
            (kind, choice.name)
            for pipe in pipelines
            for kind in ("augmenter", "model", "scorer")
            if (choice := getattr(pipe, kind))
        }
        known = self.data.known
        for category, written in self.suite.overrides.items():
            if category not in known:
                raise UserError(
                    f"overrides: no category '{category}'{nearest(category, known)}; there "
                    f"are {', '.join(known)}"
                )
            for kind, name in axes.settings(self.components, written, f"overrides.{category}"):
                if (kind, name) not in used:
                    raise UserError(
                        f"overrides.{category}: this run has no augmenter, model or scorer '{name}'"
                    )

    def _trial(
        self,
        subset: Subset,
        category: str,
        images: SubsetImages,
        setting: Setting,
        chain: Chain,
        ready: _Ready,
        seed: int,
    ) -> Trial:
        whole = ((subset.dataset.name, images.whole),) if images.whole else ()
        return Trial(
            dataset=subset.dataset,
            category=category,
            fingerprint=images.fingerprints[category],
            protocol=setting.protocol,
            split_seed=setting.split_seed,
            preprocessors=chain,
            augmenter=ready.pipeline.augmenter,
            model=ready.pipeline.model,
            scorer=ready.pipeline.scorer,
            weights=ready.weights,
            seed=seed,
            evaluation=self.evaluation,
            metrics=self.metrics,
            auxiliary=(*ready.auxiliary, *whole),
            shots=setting.shots,
            shot_seed=setting.shot_seed,
            validation=setting.validation,
            unified=self.suite.unified,
            files=self.files,
        )
