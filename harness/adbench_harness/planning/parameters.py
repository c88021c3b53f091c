"""A component's constructor parameters: read from its signature, checked, as plain data."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from adbench_harness.errors import UserError, nearest
from adbench_harness.planning import grammar
from adbench_harness.results.trial import Choice
from adbench_harness.types import Augmenter, Backbone, Dataset, Model, Preprocessor, Scorer

PRESET = "preset"
_PROTOCOLS: Mapping[str, Any] = {
    "augmenter": Augmenter,
    "backbone": Backbone,
    "dataset": Dataset,
    "model": Model,
    "preprocessor": Preprocessor,
    "scorer": Scorer,
}


class Catalogue(Protocol):
    """Where components are found by kind and name."""

    def get(self, kind: str, name: str) -> Any: ...


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
        return self.kind or _type(self.annotation)

    @property
    def is_sequence(self) -> bool:
        """Whether a list is one value of it rather than a grid of values."""
        return get_origin(_bare(self.annotation)) in (list, tuple, set, frozenset)


def _bare(annotation: Any) -> Any:
    """The annotation without its notes and without None."""
    base = _noteless(annotation)
    if get_origin(base) in (Union, UnionType):
        others = [other for other in get_args(base) if other is not NoneType]
        return _bare(others[0]) if len(others) == 1 else base
    return base


def _noteless(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _type(annotation: Any) -> str:
    base = _noteless(annotation)
    origin, inner = get_origin(base), get_args(base)
    if origin is typing.Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(_type, inner))
    if origin:
        return f"{origin.__name__}[{', '.join(map(_type, inner))}]"
    names = {NoneType: "None", Ellipsis: "..."}
    return names[base] if base in names else str(getattr(base, "__name__", base))


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
        kind = next((k for k, p in _PROTOCOLS.items() if p is _bare(hints[name])), None)
        found[name] = Parameter(name, hints[name], signed.default, kind)
    return found


def unknown(kind: str, component: str, name: str, known: Iterable[str]) -> str:
    """The message about a parameter that a component does not have."""
    return (
        f"{kind} '{component}' has no parameter '{name}'{nearest(name, known)}; it has "
        f"{', '.join(known) or 'none'}"
    )


def valid(component: Any) -> list[str]:
    """What may be set: the constructor's parameters, and ``preset`` where there are presets."""
    return [*parameters(component), *([PRESET] if component.presets else ())]


def expanded(kind: str, component: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` with their preset, if they name one, replaced by what it stands for."""
    rest = dict(params)
    if PRESET not in valid(component) or PRESET not in rest:
        return rest
    name = rest.pop(PRESET)
    if name not in component.presets:
        raise UserError(
            f"{kind} '{component.name}' has no preset '{name}'"
            f"{nearest(str(name), component.presets)}; it has {', '.join(component.presets)}"
        )
    return {**component.presets[name], **rest}


def resolve(catalogue: Catalogue, kind: str, wanted: grammar.Wanted) -> Choice:
    """``wanted`` with every parameter checked and filled in; a UserError names the valid ones.

    Without a preset it is the component's first one.
    """
    component = catalogue.get(kind, wanted.name)
    known = parameters(component)
    default = next(iter(component.presets), None)
    params = wanted.params if default is None else {PRESET: default, **wanted.params}
    given: dict[str, Any] = {}
    for name, value in expanded(kind, component, params).items():
        if name not in known:
            raise UserError(unknown(kind, wanted.name, name, valid(component)))
        given[name] = _value(catalogue, f"{kind} '{wanted.name}'", known[name], value)
    defaults = {
        name: _value(catalogue, f"{kind} '{wanted.name}'", known[name], known[name].default)
        for name in known
    }
    changed = tuple(name for name in known if name in given and given[name] != defaults[name])
    choice = Choice(wanted.name, component.version, {**defaults, **given}, changed)
    build(catalogue, kind, choice)
    return choice


def build(catalogue: Catalogue, kind: str, choice: Choice) -> Any:
    """The component of ``choice``; raises UserError with what its constructor refused."""
    component = catalogue.get(kind, choice.name)
    known = parameters(component)
    values: dict[str, Any] = {}
    for name, value in choice.params.items():
        parameter = known[name]
        if value is None:
            values[name] = None
        elif parameter.kind:
            values[name] = build(catalogue, parameter.kind, Choice.of(value))
        else:
            values[name] = TypeAdapter(parameter.annotation).validate_python(value)
    try:
        built = component(**values)
    except (ValueError, TypeError) as error:
        raise UserError(f"{kind} '{choice.label}': {error}") from error
    protocol = _PROTOCOLS[kind]
    members = [*protocol.__annotations__, *(m for m in vars(protocol) if not m.startswith("_"))]
    if lacking := [member for member in members if not hasattr(built, member)]:
        raise UserError(
            f"{kind} '{choice.name}' lacks {', '.join(lacking)}; "
            f"adbench_harness.types.{protocol.__name__} says what each is"
        )
    return built


def _value(catalogue: Catalogue, owner: str, parameter: Parameter, value: Any) -> Any:
    """``value`` as JSON-ready plain data of the parameter's type."""
    if parameter.kind:
        if value in (None, "none") and NoneType in get_args(_noteless(parameter.annotation)):
            return None
        return resolve(catalogue, parameter.kind, _wanted(owner, parameter, value)).plain()
    adapter = TypeAdapter(parameter.annotation)
    attempts = [None, value] if value in ("none", "None") else [value]
    for attempt in attempts:
        try:
            return adapter.dump_python(adapter.validate_python(attempt), mode="json")
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            reason = message[0].lower() + message[1:]
    raise UserError(
        f"{owner}: parameter '{parameter.name}' cannot be {value!r}: {reason} "
        f"(type {parameter.type}, default {parameter.default!r})"
    )


def _wanted(owner: str, parameter: Parameter, value: Any) -> grammar.Wanted:
    """A component as a parameter: in the grammar's words, as a table, or as a resolved Choice."""
    if isinstance(value, str):
        return grammar.component(value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        rest = {key: item for key, item in value.items() if key != "name"}
        return grammar.Wanted(value["name"], rest.get("params", rest))
    raise UserError(
        f"{owner}: parameter '{parameter.name}' cannot be {value!r}: write the name of a "
        f"{parameter.kind}, or a table with a key 'name'"
    )
