"""Which augmenters, models and scorers fit together, and on which backbones they run here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adbench_harness.downloads import weights
from adbench_harness.errors import UserError
from adbench_harness.planning.axes import Axes
from adbench_harness.planning.components import BrokenError, guarded
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.suite import Suite
from adbench_harness.results.trial import NONE, Choice, Weights
from adbench_harness.types import Backbone, FeatureRequest, Model, WeightFile

UNKNOWN = Choice(NONE, 0)
"""The scorer of a broken model, since it is unknown which scorers fit it."""


@dataclass(frozen=True)
class Pipeline:
    """A model with its augmenter and scorer, before data and seeds."""

    augmenter: Choice | None
    model: Choice
    scorer: Choice


class Pipelines:
    """All pipelines that fit; ``left_out`` says why others do not, ``notes`` what was replaced."""

    def __init__(self, suite: Suite, axes: Axes, locations: Locations) -> None:
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self.broken = False
        """Whether a model is broken, so that what fits it is unknown."""
        self._suite = suite
        self._axes = axes
        self._catalogue = axes.catalogue
        self._components = axes.components
        self._locations = locations
        self._named: set[str] = set()
        """The backbones that the user named."""
        self._weights_here: dict[str, Weights | None] = {}
        self._weights_of: dict[Choice, tuple[Weights, ...]] = {}

    def all(self) -> list[Pipeline]:
        """Every combination of the axes that fits; raises UserError if there is none.

        A broken model appears once; a broken scorer or augmenter appears with every model.
        """
        models = [choice for (choice,) in self._axes.chains("model")]
        if not models:
            raise UserError(
                f"none of {', '.join(self._catalogue.named)} provides a model; name a plugin that "
                "does, such as --plugins patchcore ('adbench list --components' shows them)"
            )
        models = [self._on_its_backbone(model) for model in models]
        scorers = [choice for (choice,) in self._axes.chains("scorer")]
        augmenters = [chain[0] if chain else None for chain in self._axes.chains("augmenter")]
        pipelines = []
        able: list[Choice] = []
        fitted: set[Choice] = set()
        for model in models:
            if self._components.is_broken("model", model):
                self.broken = True
                pipelines.append(Pipeline(None, model, UNKNOWN))
                continue
            instance = self._components.get("model", model)
            if self._suite.protocol not in instance.protocols:
                reason = (
                    f"{model.label}: supports {', '.join(sorted(instance.protocols))}, "
                    f"not {self._suite.protocol}"
                )
                self.left_out.append(reason)
                self.notes.append(f"left out: {reason}")
                continue
            able.append(model)
            fitting = [scorer for scorer in scorers if self._fits(instance, scorer, model)]
            fitted.update(fitting)
            if not fitting and self._axes.written("scorer") is None:
                fitting = self._filled(instance)
            for augmenter in self._augmenters(instance, model, augmenters):
                pipelines += [Pipeline(augmenter, model, scorer) for scorer in fitting]
        if able and not self.broken:
            self._check_scorers(able, [scorer for scorer in scorers if scorer not in fitted])
        if not pipelines:
            raise UserError("nothing fits together: " + "; ".join(self.left_out))
        if not self.broken:
            self._check_augmenters(able, augmenters, pipelines)
        return pipelines

    def weights(self, model: Choice) -> tuple[Weights, ...]:
        """The weights of each backbone that the model will ask for; raises UserError."""
        if model not in self._weights_of:
            built = self._components.get("model", model)
            asked = {request.backbone: self._weights(request) for request in built.feature_requests}
            own = (self._own(built, file) for file in built.weights)
            self._weights_of[model] = (*asked.values(), *own)
        return self._weights_of[model]

    def _own(self, model: Model, file: WeightFile) -> Weights:
        """One of the model's own files of weights; raises UserError if it is not found."""
        alone = len(model.weights) == 1 and not model.feature_requests
        others = self._offered_backbones if alone else None
        found = weights.find_file(file, model.version, self._locations.weights, others)
        if found is None:
            raise UserError(
                f"the weights '{file.filename}' of model '{model.name}' were not found; download "
                f"{file.url} and name the file or its folder with --weights"
            )
        return found

    # ------------------------------------------------------------ ports

    def _fits(self, instance: Any, scorer: Choice, model: Choice) -> bool:
        if self._components.is_broken("scorer", scorer):
            return True
        missing = self._accepts(scorer) - instance.emits
        if missing:
            self.left_out.append(
                f"{model.label} x {scorer.label}: the model does not emit {_ports(missing)}"
            )
        return not missing

    def _filled(self, instance: Any) -> list[Choice]:
        """Scorers that fit the model, from the required plugins or else from ``basic``."""
        for offered in self._axes.fillers("scorer"):
            able = (s for s in offered if not self._components.is_broken("scorer", s))
            if found := [s for s in able if self._accepts(s) <= instance.emits]:
                return found
        return []

    def _check_scorers(self, models: Iterable[Choice], unfit: Iterable[Choice]) -> None:
        """Raise UserError for a scorer that was asked for and fits none of the models."""
        for scorer in unfit:
            if self._axes.written("scorer") is not None:
                emitted = (
                    f"{model.label} emits {_ports(self._components.get('model', model).emits)}"
                    for model in models
                )
                raise UserError(
                    f"scorer '{scorer.label}' fits no chosen model: it accepts "
                    f"{_ports(self._accepts(scorer))}; {'; '.join(emitted)}"
                )

    def _augmenters(
        self, instance: Any, model: Choice, augmenters: Sequence[Choice | None]
    ) -> list[Choice | None]:
        if instance.augmentation == "none":
            for augmenter in filter(None, augmenters):
                self.left_out.append(f"{model.label} x {augmenter.label}: it takes no augmenter")
            return [None]
        if instance.augmentation == "optional":
            return list(augmenters)
        chosen: list[Choice | None] = [augmenter for augmenter in augmenters if augmenter]
        if not chosen:
            self.left_out.append(f"{model.label}: needs an augmenter, and none was chosen")
        return chosen

    def _check_augmenters(
        self,
        models: Iterable[Choice],
        augmenters: Iterable[Choice | None],
        pipelines: Iterable[Pipeline],
    ) -> None:
        """Raise UserError for an augmenter that was asked for and that none of the models takes."""
        used = {pipeline.augmenter for pipeline in pipelines}
        for augmenter in filter(None, augmenters):
            if self._axes.written("augmenter") is not None and augmenter not in used:
                names = ", ".join(model.label for model in models)
                raise UserError(
                    f"augmenter '{augmenter.label}': none of {names} takes an augmenter"
                )

    def _accepts(self, scorer: Choice) -> frozenset[type]:
        accepts: frozenset[type] = self._components.get("scorer", scorer).accepts
        return accepts

    # ------------------------------------------------------------ backbones

    def _on_its_backbone(self, model: Choice) -> Choice:
        """Like ``_with_backbone``, but marks the model as broken if its backbone is broken."""
        try:
            with guarded():
                return self._with_backbone(model)
        except BrokenError as error:
            self._components.fail("model", model, error.failure)
            return model

    def _with_backbone(self, model: Choice) -> Choice:
        """The model, and models among its parameters, on the backbone that the user named.

        If the user named none, it is the model's own backbone or, if that is not found, the
        stand-in. The label leaves the backbone out, since it has a column.
        """
        params = dict(model.params)
        known = self._components.parameters("model", model.name) or {}
        for name, parameter in known.items():
            if parameter.kind == "model" and params.get(name) is not None:
                params[name] = self._with_backbone(Choice.of(params[name])).plain()
        own = params.get("backbone")
        if isinstance(own, str):
            params["backbone"] = self._backbone(model, own)
        changed = tuple(key for key in model.changed if key != "backbone")
        return replace(model, params=params, changed=changed)

    def _backbone(self, model: Choice, own: str) -> str:
        written = "backbone" in model.changed or self._axes.names_backbone(model)
        named = own if written else self._suite.backbone
        self._catalogue.get("backbone", named or own)
        if named:
            self._named.add(named)
        if named or self._locations.fetch is not None or self._found(own) is not None:
            return named or own
        note = (
            f"backbone: {weights.STAND_IN}, since the weights of {model.name}'s own {own} "
            f"were not found; 'adbench weights fetch {own}' downloads them"
        )
        if note not in self.notes:
            self.notes.append(note)
        return weights.STAND_IN

    @property
    def _offered_backbones(self) -> list[Any]:
        return [offer.component for offer in self._catalogue.offers["backbone"].values()]

    def _backbone_of(self, name: str) -> Backbone:
        choice = self._components.resolve("backbone", Wanted(name))
        backbone: Backbone = self._components.get("backbone", choice)
        return backbone

    def _found(self, name: str) -> Weights | None:
        if name not in self._weights_here:
            others = self._offered_backbones
            if name in self._named:  # a file is one of theirs, whatever its name
                others = [other for other in others if other.name in self._named - {name}]
            self._weights_here[name] = weights.find(
                self._backbone_of(name), self._locations.weights, others
            )
        return self._weights_here[name]

    def _weights(self, request: FeatureRequest) -> Weights:
        backbone = self._backbone_of(request.backbone)
        weights.check_layers(backbone, request.layers)
        found = self._found(backbone.name)
        if found is None and self._locations.fetch is not None:
            self._locations.fetch.weights([backbone], self._locations.weights_folder)
            del self._weights_here[backbone.name]
            found = self._found(backbone.name)
        if found is None:
            raise UserError(
                f"the weights of backbone '{backbone.name}' were not found; run 'adbench weights "
                f"fetch {backbone.name}', name their folder with --weights, or use --backbone "
                f"{weights.EMBEDDED}"
            )
        return replace(found, precision=self._suite.precision)


def _ports(ports: Iterable[type]) -> str:
    return ", ".join(sorted(port.__name__ for port in ports)) or "nothing"
