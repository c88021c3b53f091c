"""Suite + catalogue -> trials -> bundles; every mistake of the user's ends here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adbench_harness import backbones, data, grammar, parameters
from adbench_harness.errors import UserError, nearest
from adbench_harness.plugins import BASIC, Catalogue
from adbench_harness.suite import Suite, validate
from adbench_harness.trial import NONE, Bundle, Choice, Evaluation, Trial, Weights
from adbench_harness.types import FeatureRequest, Sample

_AXES = ("dataset", "preprocessor", "augmenter", "model", "scorer")
Fetch = Callable[[str, Any], Path]


@dataclass(frozen=True)
class Places:
    """Where data and weights are; ``fetch`` is None unless a run may download."""

    data: str | None = None
    datasets: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None
    fetch: Fetch | None = None


@dataclass(frozen=True)
class Plan:
    """What will run: every trial of the suite, the bundles still to do, and what was left out and why."""

    trials: tuple[Trial, ...]
    bundles: tuple[Bundle, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pipeline:
    """A model with its augmenter and scorer, before data and seeds."""

    augmenter: Choice | None
    model: Choice
    scorer: Choice


def make(
    suite: Suite,
    catalogue: Catalogue,
    places: Places,
    *,
    device: str = "auto",
    finished: Collection[str] = (),
    checkpoints: str | None = None,
) -> Plan:
    """The plan of ``suite``; trials in ``finished`` are in no bundle. Raises UserError."""
    return _Planner(suite, catalogue, places).plan(device, finished, checkpoints)


def with_recipe(suite: Suite, catalogue: Catalogue) -> Suite:
    """The suite with its recipe's settings wherever the user wrote none."""
    if suite.recipe is None:
        return suite
    recipe = catalogue.get("recipe", suite.recipe)
    base = validate({**recipe.suite, "plugins": suite.plugins}, f"recipe '{suite.recipe}'")
    return base.model_copy(update={key: getattr(suite, key) for key in suite.model_fields_set})


class _Planner:
    def __init__(self, suite: Suite, catalogue: Catalogue, places: Places) -> None:
        self.suite = with_recipe(suite, catalogue)
        self.catalogue = catalogue
        self.places = places
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self.used: set[str] = set()

    def plan(self, device: str, finished: Collection[str], checkpoints: str | None) -> Plan:
        settings = self._settings()
        pipelines = self._pipelines(settings)
        chains = self._chains("preprocessor", settings)
        self._check_settings(settings)
        metrics = self._metrics()
        trials: list[Trial] = []
        bundles: list[Bundle] = []
        for dataset, root, category in self._categories(settings):
            tuned = self._overridden(pipelines, category)
            for split_seed in self.suite.split_seeds:
                samples = samples_of(
                    self.catalogue, dataset, root, category, self.suite.protocol, split_seed
                )
                fingerprint = data.fingerprint(root, samples)
                for chain in chains:
                    group = [
                        self._trial(
                            dataset, category, fingerprint, split_seed, chain, pipe, seed, metrics
                        )
                        for pipe, seed in itertools.product(tuned, self.suite.seeds)
                    ]
                    trials += group
                    todo = tuple(trial for trial in group if trial.id not in finished)
                    if todo:
                        bundles.append(
                            Bundle(
                                plugins=tuple(self.suite.plugins),
                                root=str(root),
                                trials=todo,
                                device=device,
                                keep_maps=self.suite.keep_maps,
                                checkpoints=checkpoints,
                                auxiliary=self._auxiliary_roots(tuned),
                            )
                        )
        return Plan(tuple(trials), tuple(bundles), tuple(self.left_out), tuple(self.notes))

    # ------------------------------------------------------------ axes

    def _written(self, kind: str) -> list[list[grammar.Wanted]] | None:
        written: list[list[grammar.Wanted]] | None = getattr(self.suite, f"{kind}s")
        return written

    def _chains(
        self, kind: str, settings: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> list[tuple[Choice, ...]]:
        """The axis: as written, or what the named plugins bring, ``none`` first where that is a value."""
        written = self._written(kind)
        if written is None:
            brought = [[grammar.Wanted(c.name)] for c in self._brought(kind)]
            written = [[], *brought] if kind in ("preprocessor", "augmenter") else brought
        elif kind != "preprocessor" and any(len(chain) > 1 for chain in written):
            raise UserError(f"only preprocessors can be chained with '+', not {kind}s")
        chains: list[tuple[Choice, ...]] = []
        for chain in written:
            links = [self._choices(kind, wanted, settings) for wanted in chain]
            chains += itertools.product(*links)
        return chains

    def _brought(self, kind: str) -> list[Any]:
        """What the named plugins bring to an axis that nobody named; a gap is filled by the others."""
        required = [p for p in self.catalogue.plugins if p not in (*self.catalogue.named, BASIC)]
        for plugins in (self.catalogue.named, required, [BASIC]):
            found = [
                component
                for component in self.catalogue.brought(kind, plugins)
                if getattr(component, "default", True)
                and getattr(component, "role", "benchmark") == "benchmark"
            ]
            if found or kind in ("preprocessor", "augmenter"):
                return found
        return []

    def _choices(
        self,
        kind: str,
        wanted: grammar.Wanted,
        settings: Mapping[tuple[str, str], Mapping[str, Any]],
    ) -> list[Choice]:
        """``wanted`` with ``--set`` applied, as one choice a point of its parameter grid."""
        component = self.catalogue.get(kind, wanted.name)
        self.used.add(f"{kind}:{wanted.name}")
        known = parameters.parameters(component)
        params = {**settings.get((kind, wanted.name), {}), **wanted.params}
        grids = []
        for name, value in params.items():
            is_sequence = name in known and known[name].is_sequence
            grid = isinstance(value, list) and (
                not is_sequence or any(isinstance(item, list) for item in value)
            )
            grids.append([(name, item) for item in (value if grid else [value])])
        return [
            parameters.resolve(self.catalogue, kind, grammar.Wanted(wanted.name, dict(point)))
            for point in itertools.product(*grids)
        ]

    def _settings(self) -> dict[tuple[str, str], dict[str, Any]]:
        """``--set`` by (kind, component)."""
        return self._by_component(self.suite.set)

    def _by_component(self, written: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for key, value in written.items():
            owner, dot, name = key.rpartition(".")
            kind, colon, component = owner.rpartition(":")
            if not dot or not component or (colon and kind not in _AXES):
                raise UserError(
                    f"--set {key}: write COMPONENT.PARAMETER=VALUE, or KIND:COMPONENT.PARAMETER "
                    f"with a kind of {', '.join(_AXES)}"
                )
            kinds = [
                k for k in ([kind] if colon else _AXES) if component in self.catalogue.offers[k]
            ]
            if len(kinds) > 1:
                raise UserError(
                    f"--set {key}: '{component}' is a {' and a '.join(kinds)}; write "
                    f"{' or '.join(f'{k}:{key}' for k in kinds)}"
                )
            if not kinds:
                names = [n for k in _AXES for n in self.catalogue.offers[k]]
                raise UserError(f"--set {key}: no component '{component}'{nearest(component, names)}")
            known = parameters.parameters(self.catalogue.get(kinds[0], component))
            if name not in known:
                raise UserError(
                    f"--set {key}: {kinds[0]} '{component}' has no parameter '{name}'"
                    f"{nearest(name, known)}; it has {', '.join(known) or 'none'}"
                )
            found.setdefault((kinds[0], component), {})[name] = value
        return found

    def _check_settings(self, settings: Mapping[tuple[str, str], Any]) -> None:
        for kind, name in settings:
            if kind != "dataset" and f"{kind}:{name}" not in self.used:
                raise UserError(f"--set {name}: this run does not use the {kind} '{name}'")

    # ------------------------------------------------------------ pipelines

    def _pipelines(
        self, settings: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> list[_Pipeline]:
        models = [choice for (choice,) in self._chains("model", settings)]
        if not models:
            raise UserError(
                f"none of {', '.join(self.catalogue.named)} brings a model; name a plugin that "
                "does, such as --plugins patchcore (adbench list --components shows them)"
            )
        models = self._with_backbones(models)
        scorers = [choice for (choice,) in self._chains("scorer", settings)]
        augmenters = [chain[0] if chain else None for chain in self._chains("augmenter", settings)]
        fitting: set[str] = set()
        pipelines = []
        for model in models:
            instance = parameters.build(self.catalogue, "model", model)
            if self.suite.protocol not in instance.protocols:
                self.left_out.append(
                    f"{model.label}: learns from {', '.join(sorted(instance.protocols))} splits, "
                    f"not {self.suite.protocol}"
                )
                continue
            fits = [scorer for scorer in scorers if self._fits(instance, model, scorer)]
            fitting |= {scorer.label for scorer in fits}
            if not fits and self._written("scorer") is None:
                fits = self._gap(instance, settings)
            used = self._augmenters(instance, model, augmenters)
            pipelines += [_Pipeline(a, model, s) for a in used for s in fits]
        for scorer in scorers:
            if self._written("scorer") is not None and scorer.label not in fitting:
                raise UserError(
                    f"scorer '{scorer.label}' fits no chosen model: it accepts "
                    f"{self._accepts(scorer)}; " + "; ".join(map(self._emission, models))
                )
        if not pipelines:
            raise UserError("nothing fits together: " + "; ".join(self.left_out))
        return pipelines

    def _fits(self, instance: Any, model: Choice, scorer: Choice) -> bool:
        accepts = parameters.build(self.catalogue, "scorer", scorer).accepts
        missing = accepts - instance.emits
        if missing:
            self.left_out.append(
                f"{model.label} x {scorer.label}: it does not emit {_ports(missing)}"
            )
        return not missing

    def _gap(
        self, instance: Any, settings: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> list[Choice]:
        """Fitting scorers of required plugins, else of ``basic``, for a model that got none."""
        others = [p for p in self.catalogue.plugins if p not in (*self.catalogue.named, BASIC)]
        for plugins in (others, [BASIC]):
            found = [
                choice
                for component in self.catalogue.brought("scorer", plugins)
                for choice in self._choices("scorer", grammar.Wanted(component.name), settings)
                if parameters.build(self.catalogue, "scorer", choice).accepts <= instance.emits
            ]
            if found:
                return found
        return []

    def _augmenters(
        self, instance: Any, model: Choice, augmenters: Sequence[Choice | None]
    ) -> list[Choice | None]:
        if instance.augmentation == "none":
            return [None]
        if instance.augmentation == "optional":
            return list(augmenters)
        used: list[Choice | None] = [augmenter for augmenter in augmenters if augmenter]
        if not used:
            self.left_out.append(f"{model.label}: needs an augmenter, and none was chosen")
        return used

    def _accepts(self, scorer: Choice) -> str:
        return _ports(parameters.build(self.catalogue, "scorer", scorer).accepts)

    def _emission(self, model: Choice) -> str:
        emits = parameters.build(self.catalogue, "model", model).emits
        return f"{model.label} emits {_ports(emits)}"

    # ------------------------------------------------------------ backbones

    def _with_backbones(self, models: Iterable[Choice]) -> list[Choice]:
        """``--backbone`` applied, and papers' backbones that are not here replaced by the embedded one.

        What the user named never falls back.
        """
        chosen = []
        for model in models:
            name = model.params.get("backbone")
            if isinstance(name, str):
                named = self.suite.backbone or (name if "backbone" in model.changed else None)
                if named and "backbone" in model.changed:
                    named = name
                model = self._with_backbone(model, named or name, fall_back=named is None)
            chosen.append(model)
        return chosen

    def _with_backbone(self, model: Choice, name: str, *, fall_back: bool) -> Choice:
        backbone = parameters.build(
            self.catalogue, "backbone", Choice(name, self.catalogue.get("backbone", name).version)
        )
        if backbones.find(backbone, self.places.weights) is None and not self.places.fetch:
            if not fall_back:
                raise UserError(
                    f"the weights of backbone '{name}' are not here; run 'adbench weights fetch "
                    f"{name}', point --weights at them, or take --backbone {backbones.EMBEDDED}"
                )
            note = (
                f"backbone: {backbones.EMBEDDED}, since the weights of {model.name}'s own {name} "
                f"are not here; 'adbench weights fetch {name}' gets them"
            )
            if note not in self.notes:
                self.notes.append(note)
            name = backbones.EMBEDDED
        changed = tuple(key for key in model.changed if key != "backbone")
        return replace(model, params={**model.params, "backbone": name}, changed=changed)

    def _weights(self, model: Choice) -> tuple[Weights, ...]:
        instance = parameters.build(self.catalogue, "model", model)
        return tuple(self._found(request) for request in requests(instance))

    def _found(self, request: FeatureRequest) -> Weights:
        version = self.catalogue.get("backbone", request.backbone).version
        backbone = parameters.build(
            self.catalogue, "backbone", Choice(request.backbone, version)
        )
        unknown = [layer for layer in request.layers if layer not in backbone.layers]
        if unknown:
            raise UserError(
                f"backbone '{backbone.name}' has no layer {', '.join(unknown)}; it has "
                f"{', '.join(backbone.layers)}"
            )
        found = backbones.find(backbone, self.places.weights)
        if found is None and self.places.fetch:
            self.places.fetch("weights", backbone)
            found = backbones.find(backbone, self.places.weights)
        if found is None:
            raise UserError(
                f"the weights of backbone '{backbone.name}' are not here; run 'adbench weights "
                f"fetch {backbone.name}' or point --weights at them"
            )
        return found

    # ------------------------------------------------------------ data

    def _categories(
        self, settings: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> Iterable[tuple[Choice, Path, str]]:
        """(data set, its folder, category) for each one chosen."""
        written = self._written("dataset")
        if written is None:
            written = [[grammar.Wanted(c.name)] for c in self._brought("dataset")]
        for chain in written:
            wanted = chain[0] if len(chain) == 1 else None
            if wanted is None:
                raise UserError("a data set is one name, such as mini or mvtec_ad/bottle")
            name, _, only = wanted.name.partition("/")
            for choice in self._choices("dataset", replace(wanted, name=name), settings):
                dataset = parameters.build(self.catalogue, "dataset", choice)
                root = self._locate(dataset)
                categories = dataset.categories(root)
                if only and only not in categories:
                    raise UserError(
                        f"data set '{name}' has no category '{only}'{nearest(only, categories)}; "
                        f"it has {', '.join(categories)}"
                    )
                for category in [only] if only else categories:
                    yield choice, root, category

    def _locate(self, dataset: Any) -> Path:
        try:
            return data.locate(dataset, self.places.data, self.places.datasets)
        except UserError:
            if not self.places.fetch or not dataset.archives:
                raise
            return self.places.fetch("data", dataset)

    def _auxiliary_names(self, pipelines: Iterable[_Pipeline]) -> list[str]:
        components = [
            (kind, choice)
            for pipe in pipelines
            for kind, choice in (("model", pipe.model), ("augmenter", pipe.augmenter))
            if choice
        ]
        names = [
            name
            for kind, choice in components
            for name in getattr(self.catalogue.get(kind, choice.name), "auxiliary", ())
        ]
        return list(dict.fromkeys(names))

    def _auxiliary_roots(self, pipelines: Iterable[_Pipeline]) -> tuple[tuple[str, str], ...]:
        return tuple(
            (name, str(self._locate(self.catalogue.get("dataset", name)())))
            for name in self._auxiliary_names(pipelines)
        )

    def _overridden(self, pipelines: Sequence[_Pipeline], category: str) -> list[_Pipeline]:
        """The pipelines with the suite's overrides for ``category``."""
        settings = self._by_component(self.suite.overrides.get(category, {}))

        def tuned(kind: str, choice: Choice | None) -> Choice | None:
            if choice is None or (kind, choice.name) not in settings:
                return choice
            given = {key: choice.params[key] for key in choice.changed}
            params = {**given, **settings[kind, choice.name]}
            new = parameters.resolve(self.catalogue, kind, grammar.Wanted(choice.name, params))
            if "backbone" in choice.params:
                new = replace(new, params={**new.params, "backbone": choice.params["backbone"]})
            # The row keeps the combination's name: one recipe, whatever a category needs.
            return replace(new, changed=choice.changed)

        return [
            _Pipeline(
                tuned("augmenter", pipe.augmenter),
                tuned("model", pipe.model),  # type: ignore[arg-type]  # never None
                tuned("scorer", pipe.scorer),  # type: ignore[arg-type]
            )
            for pipe in pipelines
        ]

    def _metrics(self) -> tuple[str, ...]:
        offers = self.catalogue.offers["metric"]
        names = self.suite.metrics if self.suite.metrics is not None else list(offers)
        return tuple(f"{name}@{self.catalogue.get('metric', name).version}" for name in names)

    def _trial(
        self,
        dataset: Choice,
        category: str,
        fingerprint: str,
        split_seed: int,
        chain: tuple[Choice, ...],
        pipe: _Pipeline,
        seed: int,
        metrics: tuple[str, ...],
    ) -> Trial:
        return Trial(
            dataset=dataset,
            category=category,
            fingerprint=fingerprint,
            split=self.suite.protocol,
            split_seed=split_seed,
            preprocessors=chain,
            augmenter=pipe.augmenter,
            model=pipe.model,
            scorer=pipe.scorer,
            weights=self._weights(pipe.model),
            seed=seed,
            evaluation=Evaluation(**self.suite.evaluation.model_dump()),
            metrics=metrics,
        )


def requests(model: Any) -> tuple[FeatureRequest, ...]:
    """What the model declares to ask of backbones."""
    return tuple(getattr(model, "features", ()))


def samples_of(
    catalogue: Catalogue, dataset: Choice, root: Path, category: str, split: str, split_seed: int
) -> list[Sample]:
    """The samples of a category under a split, checked: parts disjoint, groups whole, both non-empty."""
    instance = parameters.build(catalogue, "dataset", dataset)
    samples = list(instance.samples(root, category, split_seed))
    if split == "classification":
        samples = data.classification(root, samples, split_seed)
    else:
        samples = [sample for sample in samples if sample.part == "test" or not sample.label]
    place = f"data set '{dataset.name}', category '{category}'"
    for part in ("train", "test"):
        if not any(sample.part == part for sample in samples):
            raise UserError(f"{place}: no {part} image under '{root}'")
    for what in ("image", "group"):
        parts: dict[Any, str] = {}
        for sample in samples:
            key = getattr(sample, what)
            if key is not None and parts.setdefault(key, sample.part) != sample.part:
                raise UserError(f"{place}: {what} '{key}' is in {parts[key]} and in {sample.part}")
    return samples


def _ports(ports: Iterable[type]) -> str:
    return ", ".join(sorted(port.__name__ for port in ports)) or NONE
