"""Suite + catalogue -> trials -> bundles; every mistake of the user's ends here."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adbench_harness.errors import UserError, nearest
from adbench_harness.images import folders
from adbench_harness.planning import axes, parameters
from adbench_harness.planning.axes import Axes
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.pipelines import Pipeline, Pipelines
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.samples import Setting, indices, listed
from adbench_harness.planning.suite import Suite, validate
from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial
from adbench_harness.types import Sample


@dataclass(frozen=True)
class Plan:
    """Every trial of the suite, the bundles that they form, what was left out, and notes."""

    trials: tuple[Trial, ...]
    bundles: tuple[Bundle, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def left(self, finished: Collection[str]) -> tuple[Bundle, ...]:
        """The bundles without the trials whose ids are ``finished``; none is empty."""
        left = (
            replace(bundle, trials=tuple(t for t in bundle.trials if t.id not in finished))
            for bundle in self.bundles
        )
        return tuple(bundle for bundle in left if bundle.trials)


def make(
    suite: Suite,
    catalogue: Catalogue,
    locations: Locations,
    *,
    device: str = "auto",
    checkpoints: str | None = None,
) -> Plan:
    """The plan of ``suite``. Raises UserError."""
    suite = with_recipe(suite, catalogue)
    planner = _Planner(suite, catalogue, locations)
    trials: dict[str, Trial] = {}
    bundles: list[Bundle] = []
    for group in planner.groups():
        new = {trial.id: trial for trial in group.trials if trial.id not in trials}
        trials |= new
        if new:
            bundle = Bundle(
                plugins=tuple(map(_anywhere, suite.plugins)),
                root=str(group.root),
                trials=tuple(new.values()),
                samples=group.samples,
                categories=group.categories,
                device=device,
                keep_maps=suite.keep_maps,
                checkpoints=checkpoints,
                auxiliary=planner.auxiliary_roots(new.values()),
                chains=group.chains,
            )
            bundles.append(bundle)
    pipelines = planner.pipelines
    return Plan(
        tuple(trials.values()), tuple(bundles), tuple(pipelines.left_out), tuple(pipelines.notes)
    )


def _anywhere(plugin: str) -> str:
    """A plugin's name, or its file's path, as a process in another folder would write it."""
    return str(Path(plugin).resolve()) if plugin.endswith(".py") else plugin


def with_recipe(suite: Suite, catalogue: Catalogue) -> Suite:
    """The suite with its recipe's settings wherever the user wrote none."""
    if suite.recipe is None:
        return suite
    recipe = catalogue.get("recipe", suite.recipe)
    base = validate({**recipe.suite, "plugins": suite.plugins}, f"recipe '{suite.recipe}'")
    written = {key: getattr(suite, key) for key in suite.model_fields_set}
    settings = base.evaluation.model_copy(update=suite.evaluation.model_dump(exclude_unset=True))
    merged = {"set": base.set | suite.set, "evaluation": settings}
    return base.model_copy(update=written | merged)


@dataclass(frozen=True)
class _Images:
    """The images that a fit may see: their folder, and each one's category and fingerprint."""

    root: Path
    samples: tuple[Sample, ...]
    categories: tuple[str, ...]
    fingerprints: Mapping[str, str]
    whole: str
    """The fingerprint of all of them, where there are several categories."""


@dataclass(frozen=True)
class _Group:
    """Trials that share images and preprocessors."""

    root: Path
    samples: tuple[Sample, ...]
    categories: tuple[str, ...]
    chains: tuple[tuple[Choice, ...], ...]
    trials: Sequence[Trial]


class _Planner:
    def __init__(self, suite: Suite, catalogue: Catalogue, locations: Locations) -> None:
        self.suite = suite
        self.catalogue = catalogue
        self.locations = locations
        self.axes = Axes(suite, catalogue)
        self.pipelines = Pipelines(suite, self.axes, locations)
        self._auxiliary: dict[str, tuple[Path, str]] = {}
        self._known: dict[str, None] = {}

    def groups(self) -> Iterator[_Group]:
        """The trials in groups that share images and preprocessors."""
        pipelines = self.pipelines.all()
        chains = self.axes.chains("preprocessor")
        datasets = self.axes.datasets()
        self.axes.check_settings()
        categories = list(self._categories(datasets))
        if self.suite.recipe is None:  # a recipe's overrides may be for categories not run now
            self._check_overrides(pipelines)
        for choice, root, chosen in self._fitted_together(categories):
            tuned = {category: self._tuned(pipelines, category) for category in chosen}
            for split_seed in self.suite.split_seeds:
                images = self._images(choice, root, chosen, split_seed)
                for setting, chain in itertools.product(self._settings(split_seed), chains):
                    for category in chosen:  # too few images are the user's mistake
                        own = [
                            s
                            for s, c in zip(images.samples, images.categories, strict=True)
                            if c == category
                        ]
                        indices(own, root, category, setting)
                    trials = [
                        self._trial(choice, category, images, setting, chain, pipe, seed)
                        for category in chosen
                        for pipe, seed in itertools.product(tuned[category], self.suite.seeds)
                    ]
                    others = tuple(other for other in chains if other != chain)
                    yield _Group(root, images.samples, images.categories, others, trials)

    def _fitted_together(
        self, categories: Iterable[tuple[Choice, Path, str]]
    ) -> list[tuple[Choice, Path, list[str]]]:
        """The categories to test on that one model is fitted for: each alone, unless unified."""
        if not self.suite.unified:
            return [(choice, root, [category]) for choice, root, category in categories]
        if self.suite.overrides:
            raise UserError("unified: one model for all categories cannot have overrides of one")
        found: dict[Choice, tuple[Choice, Path, list[str]]] = {}
        for choice, root, category in categories:
            found.setdefault(choice, (choice, root, []))[2].append(category)
        return list(found.values())

    def _settings(self, split_seed: int) -> list[Setting]:
        """The suite's ways to use a category's samples."""
        suite = self.suite
        if suite.shots is None:
            return [Setting(suite.protocol, split_seed, validation=suite.validation)]
        return [
            Setting(suite.protocol, split_seed, shots, shot_seed, suite.validation)
            for shots, shot_seed in itertools.product(suite.shots, suite.shot_seeds)
        ]

    def _images(
        self, choice: Choice, root: Path, chosen: Sequence[str], split_seed: int
    ) -> _Images:
        dataset = parameters.build(self.catalogue, "dataset", choice)
        names = dataset.categories(root) if self.suite.unified else chosen
        by_name = {
            name: listed(dataset, root, name, self.suite.protocol, split_seed) for name in names
        }
        samples = tuple(sample for found in by_name.values() for sample in found)
        return _Images(
            root,
            samples,
            tuple(name for name, found in by_name.items() for _ in found),
            {name: folders.fingerprint(root, by_name[name]) for name in chosen},
            folders.fingerprint(root, samples) if self.suite.unified else "",
        )

    def auxiliary_roots(self, trials: Iterable[Trial]) -> tuple[tuple[str, str], ...]:
        names = {name for trial in trials for name, _ in trial.auxiliary} & set(self._auxiliary)
        return tuple((name, str(self._auxiliary[name][0])) for name in sorted(names))

    def _categories(
        self, datasets: Sequence[tuple[Choice, str]]
    ) -> Iterator[tuple[Choice, Path, str]]:
        for choice, only in datasets:
            dataset = parameters.build(self.catalogue, "dataset", choice)
            root = self._locate(dataset)
            categories = dataset.categories(root)
            self._known.update(dict.fromkeys(categories))
            if only and only not in categories:
                raise UserError(
                    f"data set '{choice.name}' has no category '{only}'{nearest(only, categories)};"
                    f" it has {', '.join(categories)}"
                )
            for category in [only] if only else categories:
                yield choice, root, category

    def _locate(self, dataset: Any) -> Path:
        try:
            return folders.locate(dataset, self.locations.data, self.locations.datasets)
        except UserError:
            if self.locations.fetch is None or not dataset.archives:
                raise
            return self.locations.fetch.datasets([dataset], self.locations.data_folder)[0]

    def _check_overrides(self, pipelines: Iterable[Pipeline]) -> None:
        """Raise UserError for an override that would change nothing."""
        used = {
            (kind, choice.name)
            for pipe in pipelines
            for kind in ("augmenter", "model", "scorer")
            if (choice := getattr(pipe, kind))
        }
        for category, written in self.suite.overrides.items():
            if category not in self._known:
                raise UserError(
                    f"overrides: no category '{category}'{nearest(category, self._known)}; there "
                    f"are {', '.join(self._known)}"
                )
            for kind, name in axes.settings(self.catalogue, written, f"overrides.{category}"):
                if (kind, name) not in used:
                    raise UserError(
                        f"overrides.{category} {name}: no augmenter, model or scorer of this run"
                    )

    def _tuned(self, pipelines: Sequence[Pipeline], category: str) -> list[Pipeline]:
        """The pipelines with the suite's overrides for ``category``."""
        written = self.suite.overrides.get(category)
        if not written:
            return list(pipelines)
        changes = axes.settings(self.catalogue, written, f"overrides.{category}")

        def tuned(kind: str, choice: Choice) -> Choice:
            return axes.retuned(self.catalogue, kind, choice, changes)

        return [
            Pipeline(
                pipe.augmenter and tuned("augmenter", pipe.augmenter),
                tuned("model", pipe.model),
                tuned("scorer", pipe.scorer),
            )
            for pipe in pipelines
        ]

    def _trial(
        self,
        dataset: Choice,
        category: str,
        images: _Images,
        setting: Setting,
        chain: tuple[Choice, ...],
        pipe: Pipeline,
        seed: int,
    ) -> Trial:
        return Trial(
            dataset=dataset,
            category=category,
            fingerprint=images.fingerprints[category],
            protocol=setting.protocol,
            split_seed=setting.split_seed,
            preprocessors=chain,
            augmenter=pipe.augmenter,
            model=pipe.model,
            scorer=pipe.scorer,
            weights=self.pipelines.weights(pipe.model),
            seed=seed,
            evaluation=EvaluationSettings(**self.suite.evaluation.model_dump()),
            metrics=self._metrics(),
            auxiliary=(
                *self._auxiliary_fingerprints(pipe),
                *([(dataset.name, images.whole)] if images.whole else []),
            ),
            shots=setting.shots,
            shot_seed=setting.shot_seed,
            validation=setting.validation,
            unified=self.suite.unified,
            files=tuple(
                f"{plugin.name}@{plugin.version}"
                for plugin in self.catalogue.plugins.values()
                if plugin.is_file
            ),
        )

    def _metrics(self) -> tuple[str, ...]:
        names = self.suite.metrics
        if names is None:
            names = list(self.catalogue.offers["metric"])
        return tuple(f"{name}@{self.catalogue.get('metric', name).version}" for name in names)

    def _auxiliary_fingerprints(self, pipe: Pipeline) -> tuple[tuple[str, str], ...]:
        """The auxiliary data sets that the model and the augmenter declare, with fingerprints."""
        chosen = [parameters.build(self.catalogue, "model", pipe.model)]
        if pipe.augmenter:
            chosen.append(parameters.build(self.catalogue, "augmenter", pipe.augmenter))
        names = {name for component in chosen for name in component.auxiliary}
        return tuple((name, self._auxiliary_fingerprint(name)) for name in sorted(names))

    def _auxiliary_fingerprint(self, name: str) -> str:
        if name not in self._auxiliary:
            dataset = self.catalogue.get("dataset", name)()
            root = self._locate(dataset)
            samples = [s for c in dataset.categories(root) for s in dataset.samples(root, c, 0)]
            self._auxiliary[name] = root, folders.fingerprint(root, samples)
        return self._auxiliary[name][1]
