"""The axes of a suite: the alternatives for each kind of component, with their parameters."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

from adbench_harness.errors import UserError, nearest
from adbench_harness.planning import grammar, parameters
from adbench_harness.planning.components import Components
from adbench_harness.planning.plugins import BASIC
from adbench_harness.planning.suite import Suite
from adbench_harness.results.trial import Choice

AXES = ("dataset", "preprocessor", "augmenter", "model", "scorer")
Settings = Mapping[tuple[str, str], Mapping[str, Any]]


class Axes:
    """What a suite names on each axis or, if it names nothing, what its plugins provide."""

    def __init__(self, suite: Suite, components: Components) -> None:
        self.components = components
        self.catalogue = components.catalogue
        self._suite = suite
        self._settings = settings(components, suite.set)
        self._used: set[tuple[str, str]] = set()
        self._on_named_backbone: set[Choice] = set()

    def written(self, kind: str) -> list[list[grammar.Wanted]] | None:
        """The alternatives that the suite names on the axis, each a chain; None if none."""
        alternatives: list[list[grammar.Wanted]] | None = getattr(self._suite, f"{kind}s")
        return alternatives

    def datasets(self) -> list[tuple[Choice, str]]:
        """The data sets, each with the requested category, or with an empty string for all."""
        written = self.written("dataset")
        if written is None:
            written = [[wanted] for wanted in self._brought("dataset")]
        chosen = []
        for chain in written:
            if len(chain) != 1:
                raise UserError("a data set is a single name, such as mini or mvtec_ad/bottle")
            name, _, category = chain[0].name.partition("/")
            offer = self.catalogue.offers["dataset"].get(name)
            if offer and offer.component.role == "auxiliary":
                raise UserError(f"data set '{name}' is auxiliary: it has no test images")
            wanted = grammar.Wanted(name, chain[0].params)
            chosen += [(choice, category) for choice in self.choices("dataset", wanted)]
        return chosen

    def chains(self, kind: str) -> list[tuple[Choice, ...]]:
        """The chains of an axis; by default an optional axis begins with the empty chain."""
        written = self.written(kind)
        if written is None:
            written = [[wanted] for wanted in self._brought(kind)]
            if kind in ("preprocessor", "augmenter"):
                written.insert(0, [])
        elif kind != "preprocessor" and any(len(chain) > 1 for chain in written):
            raise UserError(f"only preprocessors can be chained with '+', not {kind}s")
        elif kind in ("model", "scorer") and not all(written):
            raise UserError(f"'none' is not a {kind}; leave it out")
        chains: list[tuple[Choice, ...]] = []
        for chain in written:
            chains += itertools.product(*(self.choices(kind, wanted) for wanted in chain))
        return chains

    def fillers(self, kind: str) -> list[list[Choice]]:
        """What fills an empty axis: components of required plugins, then those of ``basic``."""
        required = [p for p in self.catalogue.plugins if p not in (*self.catalogue.named, BASIC)]
        return [
            [c for w in self._offered(kind, plugins) for c in self.choices(kind, w)]
            for plugins in (required, [BASIC])
        ]

    def choices(self, kind: str, wanted: grammar.Wanted) -> list[Choice]:
        """One choice for each point of the grid of ``wanted``'s parameters, after ``--set``."""
        known = self.components.parameters(kind, wanted.name) or {}
        self._used.add((kind, wanted.name))
        params = {**wanted.params, **self._settings.get((kind, wanted.name), {})}
        grids = []
        for name, value in params.items():
            one_value = name in known and known[name].is_sequence
            is_grid = isinstance(value, list) and (
                not one_value or any(isinstance(item, list) for item in value)
            )
            grids.append([(name, item) for item in (value if is_grid else [value])])
        found = [
            self.components.resolve(kind, grammar.Wanted(wanted.name, dict(point)))
            for point in itertools.product(*grids)
        ]
        if "backbone" in params:
            self._on_named_backbone.update(found)
        return found

    def names_backbone(self, model: Choice) -> bool:
        """Whether the suite names the model's backbone, even if it names the model's own."""
        return model in self._on_named_backbone

    def check_settings(self) -> None:
        """Raise UserError for a ``--set`` that changed nothing."""
        for kind, name in self._settings.keys() - self._used:
            raise UserError(f"--set {name}: this run does not use the {kind} '{name}'")

    def _brought(self, kind: str) -> list[grammar.Wanted]:
        """Components of the named plugins; others provide a missing data set, model or scorer."""
        found = self._offered(kind, self.catalogue.named)
        if found or kind in ("preprocessor", "augmenter"):
            return found
        return next(
            filter(None, ([grammar.Wanted(c.name) for c in f] for f in self.fillers(kind))), []
        )

    def _offered(self, kind: str, plugins: Collection[str]) -> list[grammar.Wanted]:
        return [
            grammar.Wanted(component.name)
            for component in self.catalogue.brought(kind, plugins)
            if component.default and not (kind == "dataset" and component.role == "auxiliary")
        ]


def settings(components: Components, written: Mapping[str, Any], source: str = "--set") -> Settings:
    """``[KIND:]COMPONENT.PARAMETER`` -> value, by (kind, component); raises UserError.

    If a broken plugin may provide the component, or if its parameters cannot be read, nothing is
    raised, since this is not the user's mistake.
    """
    catalogue = components.catalogue
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key, value in written.items():
        owner, dot, name = key.rpartition(".")
        kind, colon, component = owner.rpartition(":")
        if not dot or not component or (colon and kind not in AXES):
            raise UserError(
                f"{source} {key}: write COMPONENT.PARAMETER=VALUE, or KIND:COMPONENT.PARAMETER "
                f"with a kind of {', '.join(AXES)}"
            )
        kinds = [k for k in ([kind] if colon else AXES) if component in catalogue.offers[k]]
        if len(kinds) > 1:
            raise UserError(
                f"{source} {key}: '{component}' is a {' and a '.join(kinds)}; write "
                f"{' or '.join(f'{k}:{key}' for k in kinds)}"
            )
        if not kinds and catalogue.broken:
            continue
        if not kinds:
            names = [n for k in AXES for n in catalogue.offers[k]]
            raise UserError(
                f"{source} {key}: no component '{component}'{nearest(component, names)}"
            )
        if components.parameters(kinds[0], component) is not None:
            known = parameters.valid(catalogue.get(kinds[0], component))
            if name not in known:
                raise UserError(parameters.unknown(kinds[0], component, name, known))
        found.setdefault((kinds[0], component), {})[name] = value
    return found


def retuned(components: Components, kind: str, choice: Choice, changes: Settings) -> Choice:
    """``choice`` with the parameters that ``changes`` has for it.

    Its label stays the same: a table has one row for a combination, whatever is overridden.
    """
    if (kind, choice.name) not in changes or components.is_broken(kind, choice):
        return choice
    component = components.catalogue.get(kind, choice.name)
    given = {**choice.params, **parameters.expanded(kind, component, changes[kind, choice.name])}
    tuned = components.resolve(kind, grammar.Wanted(choice.name, given))
    return Choice(tuned.name, tuned.version, tuned.params, choice.changed)
