"""Suite + catalogue -> trials -> bundles; every mistake of the user's ends here."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench_harness.errors import UserError, nearest, said
from adbench_harness.images import folders
from adbench_harness.planning import axes, parameters
from adbench_harness.planning.axes import Axes
from adbench_harness.planning.pipelines import Pipeline, Pipelines, Places
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.suite import Suite, validate
from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial
from adbench_harness.types import Sample


@dataclass(frozen=True)
class Plan:
    """Every trial of the suite, the bundles still to run, what was left out, and notes."""

    trials: tuple[Trial, ...]
    bundles: tuple[Bundle, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def make(
    suite: Suite,
    catalogue: Catalogue,
    places: Places,
    *,
    device: str = "auto",
    finished: Collection[str] = (),
    checkpoints: str | None = None,
) -> Plan:
    """The plan of ``suite``; trials with ``finished`` ids are in no bundle. Raises UserError."""
    suite = with_recipe(suite, catalogue)
    planner = _Planner(suite, catalogue, places)
    trials: dict[str, Trial] = {}
    bundles: list[Bundle] = []
    for root, group in planner.groups():
        new = {trial.id: trial for trial in group if trial.id not in trials}
        trials |= new
        todo = tuple(trial for trial in new.values() if trial.id not in finished)
        if todo:
            bundle = Bundle(
                plugins=tuple(map(_anywhere, suite.plugins)),
                root=str(root),
                trials=todo,
                device=device,
                keep_maps=suite.keep_maps,
                checkpoints=checkpoints,
                auxiliary=planner.auxiliary_roots(todo),
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


class _Planner:
    def __init__(self, suite: Suite, catalogue: Catalogue, places: Places) -> None:
        self.suite = suite
        self.catalogue = catalogue
        self.places = places
        self.axes = Axes(suite, catalogue)
        self.pipelines = Pipelines(suite, self.axes, places)
        self._auxiliary: dict[str, tuple[Path, str]] = {}
        self._known: dict[str, None] = {}

    def groups(self) -> Iterator[tuple[Path, list[Trial]]]:
        """The trials that share images and preprocessors, with the folder of their data."""
        pipelines = self.pipelines.all()
        chains = self.axes.chains("preprocessor")
        datasets = self.axes.datasets()
        self.axes.check_settings()
        categories = list(self._categories(datasets))
        if self.suite.recipe is None:  # a recipe's overrides may be for categories not run now
            self._check_overrides(pipelines)
        for choice, root, category in categories:
            tuned = self._tuned(pipelines, category)
            for split_seed in self.suite.split_seeds:
                samples = samples_of(
                    self.catalogue, choice, root, category, self.suite.protocol, split_seed
                )
                fingerprint = folders.fingerprint(root, samples)
                for chain in chains:
                    yield (
                        root,
                        [
                            self._trial(
                                choice, category, fingerprint, split_seed, chain, pipe, seed
                            )
                            for pipe, seed in itertools.product(tuned, self.suite.seeds)
                        ],
                    )

    def auxiliary_roots(self, trials: Sequence[Trial]) -> tuple[tuple[str, str], ...]:
        names = {name for trial in trials for name, _ in trial.auxiliary}
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
            return folders.locate(dataset, self.places.data, self.places.datasets)
        except UserError:
            if self.places.fetch is None or not dataset.archives:
                raise
            return self.places.fetch("data", dataset)

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
        fingerprint: str,
        split_seed: int,
        chain: tuple[Choice, ...],
        pipe: Pipeline,
        seed: int,
    ) -> Trial:
        return Trial(
            dataset=dataset,
            category=category,
            fingerprint=fingerprint,
            protocol=self.suite.protocol,
            split_seed=split_seed,
            preprocessors=chain,
            augmenter=pipe.augmenter,
            model=pipe.model,
            scorer=pipe.scorer,
            weights=self.pipelines.weights(pipe.model),
            seed=seed,
            evaluation=EvaluationSettings(**self.suite.evaluation.model_dump()),
            metrics=self._metrics(),
            auxiliary=self._auxiliary_prints(pipe),
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

    def _auxiliary_prints(self, pipe: Pipeline) -> tuple[tuple[str, str], ...]:
        """The auxiliary data sets that the model and the augmenter declare, with fingerprints."""
        chosen = [parameters.build(self.catalogue, "model", pipe.model)]
        if pipe.augmenter:
            chosen.append(parameters.build(self.catalogue, "augmenter", pipe.augmenter))
        names = {name for component in chosen for name in component.auxiliary}
        return tuple((name, self._auxiliary_print(name)) for name in sorted(names))

    def _auxiliary_print(self, name: str) -> str:
        if name not in self._auxiliary:
            dataset = self.catalogue.get("dataset", name)()
            root = self._locate(dataset)
            samples = [s for c in dataset.categories(root) for s in dataset.samples(root, c, 0)]
            self._auxiliary[name] = root, folders.fingerprint(root, samples)
        return self._auxiliary[name][1]


def samples_of(
    catalogue: Catalogue, dataset: Choice, root: Path, category: str, protocol: str, split_seed: int
) -> list[Sample]:
    """A category's samples under a protocol, checked: splits disjoint, groups whole, none empty."""
    instance = parameters.build(catalogue, "dataset", dataset)
    try:
        samples = list(instance.samples(root, category, split_seed))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"data set '{dataset.name}', category '{category}': listing its samples failed: "
            f"{said(error)}; mend the plugin or the data"
        ) from error
    if protocol == "classification":
        samples = folders.classification(root, samples, split_seed)
    else:
        samples = [sample for sample in samples if sample.split == "test" or not sample.label]
    place = f"data set '{dataset.name}', category '{category}'"
    for split in ("train", "test"):
        if not any(sample.split == split for sample in samples):
            raise UserError(f"{place}: no {split} image under '{root}'")
    for what in ("image", "group"):
        splits: dict[Any, str] = {}
        for sample in samples:
            key = getattr(sample, what)
            if key is not None and splits.setdefault(key, sample.split) != sample.split:
                raise UserError(
                    f"{place}: {what} '{key}' is in {splits[key]} and in {sample.split}"
                )
    return samples
