"""Checks what a component declares against the base class of its kind."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any, ClassVar, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from adbench_harness.errors import ContractError, line
from adbench_harness.types import COMPONENTS, Component, FeatureRequest

_CLOSE = 0.75
"""A name at least this similar to another counts as a misspelling of it."""
_UNRELATED = frozenset({"build"})
"""Usual names of helpers that resemble a member's ("rebuild") and mean something else."""


@cache
def members(kind: str) -> dict[str, Any]:
    """Every member that the harness reads, with its type, which is None for a method."""
    base = COMPONENTS[kind]
    found = {
        name: get_args(hint)[0] if get_origin(hint) is ClassVar else hint
        for name, hint in _hints(kind).items()
    }
    methods = [name for name, value in inspect.getmembers(base, inspect.isfunction)]
    return found | {n: None for n in methods if not n.startswith("_") or n == "__call__"}


@cache
def _hints(kind: str) -> dict[str, Any]:
    return get_type_hints(COMPONENTS[kind], include_extras=True)


def kind_of(component: type) -> str:
    """The kind of a component class: by its base class, or else by the methods that it has.

    Raises TypeError if it is not a component.
    """
    for kind, base in COMPONENTS.items():
        if issubclass(component, base):
            return kind
    for kind, base in COMPONENTS.items():
        needed = (name for name, _ in _abstract(base))
        if all(inspect.isfunction(getattr(component, name, None)) for name in needed):
            return kind
    bases = ", ".join(base.__name__ for base in COMPONENTS.values())
    raise TypeError(f"{component!r} is not a component: derive it from one of {bases}")


def _abstract(component: type) -> list[tuple[str, Any]]:
    return inspect.getmembers(component, lambda m: getattr(m, "__isabstractmethod__", False))


@cache
def completed(kind: str, component: type) -> type[Component]:
    """``component`` as a class of its kind; one that derives from no base class gets its defaults.

    A network that is only an ``nn.Module`` can therefore be used as it is.
    """
    base = COMPONENTS[kind]
    if issubclass(component, base):
        return component
    own = {"__module__": component.__module__, "__qualname__": component.__qualname__}
    return cast(
        "type[Component]",
        types.new_class(component.__name__, (component, base), {}, lambda space: space.update(own)),
    )


@cache
def check_class(kind: str, component: type) -> None:
    """Raise ContractError for a method that is missing, and for a wrong or misspelt attribute."""
    if missing := sorted(name for name, _ in _abstract(component)):
        written = [name for name, value in _own(component) if inspect.isroutine(value)]
        for name in missing:
            if close := difflib.get_close_matches(name, written, n=1, cutoff=_CLOSE):
                raise ContractError(
                    f"{_lacks(kind, component, missing)}; rename '{close[0]}' to '{name}'"
                )
        raise ContractError(_lacks(kind, component, missing))
    for name in vars(component):
        if name in ("init", "__int__", "_init_", "__init", "_init"):
            raise ContractError(
                f"{_called(kind, component)}: '{name}' is not a constructor; did you mean "
                "'__init__'?"
            )
    for name, hint in _hints(kind).items():
        value = inspect.getattr_static(component, name, _ABSENT)
        if get_origin(hint) is ClassVar and value is not _ABSENT:
            _check_type(kind, component, name, value)
    for name, value in _own(component):
        _check_spelling(kind, component, name, value)


def check_instance(kind: str, built: Component) -> None:
    """Raise ContractError for an attribute that is missing, of another type, or misspelt.

    An error that a property raises is passed on.
    """
    component: type = type(built)
    missing = []
    for name, hint in members(kind).items():
        if hint is None:
            continue
        try:
            value = getattr(built, name)
        except AttributeError:
            if inspect.getattr_static(component, name, _ABSENT) is not _ABSENT:
                raise  # a property raised it, about another attribute
            missing.append(name)
        else:
            _check_type(kind, component, name, value)
    if missing:
        raise ContractError(_lacks(kind, component, sorted(missing)))
    for name, value in vars(built).items():
        if not name.startswith("_") and name not in _parameters(component):
            _check_spelling(kind, component, name, value)
            if kind == "model" and _requests(value) and not built.feature_requests:  # type: ignore[attr-defined]
                raise ContractError(
                    f"{_called(kind, component)}: attribute '{name}' holds feature requests, but "
                    "feature_requests is empty; rename it to feature_requests"
                )


_ABSENT = object()


def _check_type(kind: str, component: type, name: str, value: Any) -> None:
    try:
        _adapter(kind, name).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(
            f"{_called(kind, component)}: {name} cannot be {line(repr(first['input']))}: "
            f"{first['msg'][0].lower()}{first['msg'][1:]}"
        ) from None


@cache
def _adapter(kind: str, name: str) -> TypeAdapter[Any]:
    hint = members(kind)[name]
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # pydantic rejects a configuration if a data class has its own
        return TypeAdapter(hint)


def _requests(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, FeatureRequest) for item in items)


def _own(component: type) -> Iterator[tuple[str, Any]]:
    """The public members that the author's own package defines, without parameters."""
    package = component.__module__.partition(".")[0]
    bases = {Component, *COMPONENTS.values()}
    for base in component.__mro__:
        if base in bases or base.__module__.partition(".")[0] != package:
            continue
        for name, value in vars(base).items():
            if not name.startswith("_") and name not in _parameters(component):
                yield name, value


@cache
def _parameters(component: type) -> frozenset[str]:
    return frozenset(inspect.signature(component.__init__).parameters)  # type: ignore[misc]


def _check_spelling(kind: str, component: type, name: str, value: Any) -> None:
    """Raise ContractError for a misspelt member: a similar name with a value of the right type.

    ``transductiv = True`` is a misspelt member; ``self.weight = 0.5`` is not, since a number cannot
    be meant for ``weights``.
    """
    meant = _meant(kind, name)
    if meant is not None and _fits(kind, meant, value):
        raise ContractError(
            f"{_called(kind, component)}: '{name}' is not a member that the harness knows; did "
            f"you mean '{meant}'? (otherwise rename it or let its name begin with '_')"
        )


@cache
def _meant(kind: str, name: str) -> str | None:
    """The member that ``name`` resembles; None if it is a member itself, or resembles none."""
    known = members(kind)
    close = (
        []
        if name in known or name in _UNRELATED
        else difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
    )
    return close[0] if close else None


def _fits(kind: str, member: str, value: Any) -> bool:
    if members(kind)[member] is None:
        return inspect.isroutine(value) or isinstance(value, staticmethod | classmethod)
    if isinstance(value, property | cached_property) or _requests(value):
        return True
    try:
        _adapter(kind, member).validate_python(value)
    except ValidationError:
        return False
    return True


def _lacks(kind: str, component: type, missing: list[str]) -> str:
    base = COMPONENTS[kind].__name__
    return (
        f"{_called(kind, component)} lacks {', '.join(missing)}; adbench_harness.types.{base} "
        "describes each"
    )


def _called(kind: str, component: type) -> str:
    return f"{kind} '{getattr(component, 'name', component.__name__)}'"
