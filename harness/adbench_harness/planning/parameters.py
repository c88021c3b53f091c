"""Reads a component's constructor parameters from its signature, and checks their values."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from adbench_harness.errors import ContractError, UserError, message, nearest
from adbench_harness.planning import grammar
from adbench_harness.results.trial import Choice
from adbench_harness.types import COMPONENTS

PRESET = "preset"


class Catalogue(Protocol):
    """Finds components by kind and name."""

    def get(self, kind: str, name: str) -> Any: ...


@dataclass(frozen=True)
class Parameter:
    """One constructor parameter; ``kind`` is the value's kind if the value is a component."""

    name: str
    annotation: Any
    default: Any
    kind: str | None

    @property
    def meaning(self) -> str:
        """The text in the annotation, which says what the parameter is for."""
        for note in getattr(self.annotation, "__metadata__", ()):
            if isinstance(note, str):
                return note
            if isinstance(note, FieldInfo) and note.description:
                return note.description
        return ""

    @property
    def type(self) -> str:
        """The type in readable form."""
        return self.kind or _type(self.annotation)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Checks a value, and converts it to plain data and back."""
        return TypeAdapter(self.annotation)

    @property
    def is_sequence(self) -> bool:
        """Whether a list is one value of the parameter rather than a grid of values."""
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


@cache
def parameters(component: type) -> Mapping[str, Parameter]:
    """The parameters of the author's constructor by name; empty if the author wrote none.

    Raises ContractError for a parameter that is not typed, is not keyword-only or has no default,
    since a suite could neither check nor record it.
    """
    if not _wrote_constructor(component):
        return {}
    constructor = component.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(constructor, include_extras=True)
    found = {}
    for name, signed in list(inspect.signature(constructor).parameters.items())[1:]:
        if (
            signed.kind is not signed.KEYWORD_ONLY
            or signed.default is signed.empty
            or name not in hints
        ):
            raise ContractError(
                f"{component.__name__}: constructor parameter '{name}' must be keyword-only, "
                "typed and have a default"
            )
        kind = next((k for k, base in COMPONENTS.items() if base is _bare(hints[name])), None)
        found[name] = Parameter(name, hints[name], signed.default, kind)
    return found


def _wrote_constructor(component: type) -> bool:
    """False if the constructor is ``object``'s, or a library's that takes any arguments."""
    owner = next(base for base in component.__mro__ if "__init__" in vars(base))
    if owner is object:
        return False
    signed = list(inspect.signature(owner.__init__).parameters.values())[1:]  # type: ignore[misc]
    anything = bool(signed) and all(
        one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in signed
    )
    return not anything or _package(owner) == _package(component)


def _package(component: type) -> str:
    return component.__module__.partition(".")[0]


def unknown(kind: str, component: str, name: str, known: Iterable[str]) -> str:
    """The message about a parameter that a component does not have."""
    return (
        f"{kind} '{component}' has no parameter '{name}'{nearest(name, known)}; it has "
        f"{', '.join(known) or 'none'}"
    )


def valid(component: Any) -> list[str]:
    """The names that may be set: the constructor's parameters, and ``preset`` if it has presets."""
    return [*parameters(component), *([PRESET] if component.presets else ())]


def expanded(kind: str, component: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` in which a preset, if one is named, is replaced by its parameters."""
    rest = dict(params)
    if not component.presets or PRESET not in rest:
        return rest
    return {**component.presets[_preset(kind, component, rest.pop(PRESET))], **rest}


def _preset(kind: str, component: Any, name: str) -> str:
    if name not in component.presets:
        raise UserError(
            f"{kind} '{component.name}' has no preset '{name}'"
            f"{nearest(str(name), component.presets)}; it has {', '.join(component.presets)}"
        )
    return name


def resolve(catalogue: Catalogue, kind: str, wanted: grammar.Wanted) -> Choice:
    """``wanted`` with every parameter checked and filled in; a UserError names the valid ones.

    If no preset is named, the component's first one is used. Nothing is built; ``build`` reports
    what the constructor rejects. Raises ContractError if the author's own values are wrong.
    """
    component = catalogue.get(kind, wanted.name)
    known = parameters(component)

    def checked(values: Mapping[str, Any]) -> dict[str, Any]:
        for name in values:
            if name not in known:
                raise UserError(unknown(kind, wanted.name, name, valid(component)))
        return {
            name: _value(catalogue, f"{kind} '{wanted.name}'", known[name], value)
            for name, value in values.items()
        }

    written = dict(wanted.params)
    preset = next(iter(component.presets), None)
    if preset is not None:
        preset = _preset(kind, component, written.pop(PRESET, preset))
    try:
        defaults = checked({name: parameter.default for name, parameter in known.items()})
        usual = checked(component.presets[preset]) if preset is not None else {}
    except UserError as error:
        raise ContractError(f"{error}; correct the component's defaults or presets") from None
    given = {**usual, **checked(written)}
    changed = tuple(name for name in known if name in given and given[name] != defaults[name])
    params = {
        name: value
        for name, value in {**defaults, **given}.items()
        if name in changed or name not in component.younger
    }
    return Choice(wanted.name, component.version, params, changed)


def build(catalogue: Catalogue, kind: str, choice: Choice) -> Any:
    """Build a new component of ``choice``.

    Raises UserError for a value that its constructor rejects. If the component cannot be built with
    its usual values either, it is broken, and its own error is raised.
    """
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
            values[name] = parameter.adapter.validate_python(value)
    try:
        return component(**values)
    except (ValueError, TypeError) as error:
        usual = resolve(catalogue, kind, grammar.Wanted(choice.name))
        if choice.params == usual.params:
            raise
        build(catalogue, kind, usual)
        raise UserError(f"{kind} '{choice.label}': {message(error)}") from error


def _value(catalogue: Catalogue, owner: str, parameter: Parameter, value: Any) -> Any:
    """``value`` as JSON-ready plain data of the parameter's type."""
    if parameter.kind:
        if value in (None, "none") and NoneType in get_args(_noteless(parameter.annotation)):
            return None
        return resolve(catalogue, parameter.kind, _wanted(owner, parameter, value)).plain()
    attempts = [None, value] if value in ("none", "None") else [value]
    for attempt in attempts:
        try:
            checked = parameter.adapter.validate_python(attempt)
            plain = parameter.adapter.dump_python(checked, mode="json")
            # A set has no order of its own, and a trial's id must not depend on one.
            return sorted(plain) if isinstance(checked, set | frozenset) else plain
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            reason = first[0].lower() + first[1:]
    raise UserError(
        f"{owner}: parameter '{parameter.name}' cannot be {value!r}: {reason} "
        f"(type {parameter.type}, default {parameter.default!r})"
    )


def _wanted(owner: str, parameter: Parameter, value: Any) -> grammar.Wanted:
    """A component as a parameter, given as text, as a table, or as a resolved Choice."""
    if isinstance(value, str):
        return grammar.component(value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        rest = {key: item for key, item in value.items() if key != "name"}
        return grammar.Wanted(value["name"], rest.get("params", rest))
    raise UserError(
        f"{owner}: parameter '{parameter.name}' cannot be {value!r}: write the name of a "
        f"{parameter.kind}, or a table with a key 'name'"
    )
