"""A component's constructor parameters: read from its signature, checked, resolved to plain data."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from adbench_harness import grammar
from adbench_harness.errors import UserError, nearest
from adbench_harness.plugins import Catalogue
from adbench_harness.trial import Choice
from adbench_harness.types import Augmenter, Backbone, Model, Preprocessor, Scorer

_COMPONENTS: Mapping[Any, str] = {
    Augmenter: "augmenter",
    Backbone: "backbone",
    Model: "model",
    Preprocessor: "preprocessor",
    Scorer: "scorer",
}


@dataclass(frozen=True)
class Parameter:
    """One constructor parameter; ``kind`` is a component's kind where the value is a component."""

    name: str
    annotation: Any
    default: Any
    kind: str | None

    @property
    def meaning(self) -> str:
        """What the annotation's text says it is for."""
        for note in getattr(self.annotation, "__metadata__", ()):
            if isinstance(note, str):
                return note
            if isinstance(note, FieldInfo) and note.description:
                return note.description
        return ""

    @property
    def type(self) -> str:
        """The type as a person would write it."""
        base = self.annotation
        if get_origin(base) is Annotated:
            base = get_args(base)[0]
        if self.kind:
            return self.kind
        return base.__name__ if isinstance(base, type) and not get_args(base) else _type(base)

    @property
    def is_sequence(self) -> bool:
        """Whether a list is one value of it rather than a grid of values."""
        base = get_args(self.annotation)[0] if get_origin(self.annotation) is Annotated else None
        return get_origin(base or self.annotation) in (list, tuple, set, frozenset)


def _type(annotation: Any) -> str:
    if get_origin(annotation) is typing.Literal:
        return " | ".join(map(str, get_args(annotation)))
    return str(annotation).replace("typing.", "").replace("NoneType", "None")


def parameters(component: type) -> dict[str, Parameter]:
    """The constructor's parameters by name.

    Raises UserError where one is not typed, not keyword-only or without a default: a suite could
    neither check nor record it.
    """
    if component.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    hints = typing.get_type_hints(component.__init__, include_extras=True)  # type: ignore[misc]
    found = {}
    for name, signed in list(inspect.signature(component.__init__).parameters.items())[1:]:  # type: ignore[misc]
        if (
            signed.kind is not signed.KEYWORD_ONLY
            or signed.default is signed.empty
            or name not in hints
        ):
            raise UserError(
                f"{component.__name__}: constructor parameter '{name}' must be keyword-only, "
                "typed and have a default"
            )
        base = hints[name]
        base = get_args(base)[0] if get_origin(base) is Annotated else base
        found[name] = Parameter(name, hints[name], signed.default, _COMPONENTS.get(base))
    return found


def resolve(catalogue: Catalogue, kind: str, wanted: grammar.Wanted) -> Choice:
    """``wanted`` with every parameter checked and filled in; raises UserError naming the valid ones."""
    component = catalogue.get(kind, wanted.name)
    known = parameters(component)
    given: dict[str, Any] = {}
    for name, value in wanted.params.items():
        if name not in known:
            raise UserError(
                f"{kind} '{wanted.name}' has no parameter '{name}'{nearest(name, known)}; it has "
                f"{', '.join(known) or 'none'}"
            )
        given[name] = _value(catalogue, f"{kind} '{wanted.name}'", known[name], value)
    defaults = {
        name: _value(catalogue, f"{kind} '{wanted.name}'", known[name], known[name].default)
        for name in known
    }
    changed = tuple(name for name, value in given.items() if value != defaults[name])
    choice = Choice(wanted.name, component.version, {**defaults, **given}, changed)
    build(catalogue, kind, choice)
    return choice


def build(catalogue: Catalogue, kind: str, choice: Choice) -> Any:
    """The component of ``choice``, constructed; raises UserError with what its constructor refused."""
    component = catalogue.get(kind, choice.name)
    known = parameters(component)
    values = {}
    for name, value in choice.params.items():
        parameter = known[name]
        if parameter.kind and value is not None:
            nested = Choice(**{**value, "changed": tuple(value["changed"])})
            values[name] = build(catalogue, parameter.kind, nested)
        else:
            values[name] = TypeAdapter(parameter.annotation).validate_python(value)
    try:
        return component(**values)
    except (ValueError, TypeError) as error:
        raise UserError(f"{kind} '{choice.label}': {error}") from error


def _value(catalogue: Catalogue, owner: str, parameter: Parameter, value: Any) -> Any:
    """``value`` as JSON-ready plain data of the parameter's type."""
    if parameter.kind:
        if isinstance(value, str):
            value = grammar.component(value)
        return asdict(resolve(catalogue, parameter.kind, value)) if value is not None else None
    adapter = TypeAdapter(parameter.annotation)
    attempts = [None, value] if value in ("none", "None") else [value]
    for attempt in attempts:
        try:
            return adapter.dump_python(adapter.validate_python(attempt), mode="json")
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
    raise UserError(
        f"{owner}: parameter '{parameter.name}' cannot be {value!r}: {reason[0].lower()}{reason[1:]}"
        f" (type {parameter.type}, default {parameter.default!r})"
    )


