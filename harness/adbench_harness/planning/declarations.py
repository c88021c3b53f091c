"""What a component declares, compared with the base class of its kind."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from adbench_harness.errors import ContractError
from adbench_harness.types import COMPONENTS, Component, FeatureRequest

_CLOSE = 0.75
"""Two names at least this similar count as one misspelt."""


@cache
def members(kind: str) -> dict[str, Any]:
    """Every member that the harness looks at, with its type; a method's is ``None``."""
    base = COMPONENTS[kind]
    hints = get_type_hints(base, include_extras=True)
    found = {
        name: get_args(hint)[0] if get_origin(hint) is ClassVar else hint
        for name, hint in hints.items()
    }
    methods = [name for name, value in inspect.getmembers(base, inspect.isfunction)]
    return found | {n: None for n in methods if not n.startswith("_") or n == "__call__"}


def kind_of(component: type) -> str:
    """The kind of a component class: by its base class, or else by the methods that it has.

    Raises TypeError where it is none.
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

    So a network that is an ``nn.Module`` and nothing else serves as it is.
    """
    base = COMPONENTS[kind]
    if issubclass(component, base):
        return component
    own = {"__module__": component.__module__, "__qualname__": component.__qualname__}
    return cast(
        "type[Component]",
        types.new_class(component.__name__, (component, base), {}, lambda space: space.update(own)),
    )


def check_class(kind: str, component: type) -> None:
    """Raise ContractError for a method that is missing and for a name that is nearly a member's."""
    if missing := sorted(name for name, _ in _abstract(component)):
        raise ContractError(_lacks(kind, component, missing))
    known = members(kind)
    for name in _own_names(component):
        _check_spelling(kind, component.__name__, name, known)


def check_instance(kind: str, built: Component) -> None:
    """Raise ContractError for an attribute that is missing, of another type, or misspelt."""
    known = members(kind)
    missing = sorted(
        name for name, hint in known.items() if hint is not None and not hasattr(built, name)
    )
    if missing:
        raise ContractError(_lacks(kind, type(built), missing))
    for name, hint in known.items():
        if hint is None:
            continue
        try:
            _adapter(kind, name).validate_python(getattr(built, name), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ContractError(
                f"{kind} '{built.name}': {name} cannot be {first['input']!r}: "
                f"{first['msg'][0].lower()}{first['msg'][1:]}"
            ) from None
    parameters = inspect.signature(type(built).__init__).parameters
    for name, value in vars(built).items():
        if name.startswith("_") or name in parameters:
            continue
        _check_spelling(kind, built.name, name, known)
        if kind == "model" and _requests(value) and not built.feature_requests:  # type: ignore[attr-defined]
            raise ContractError(
                f"model '{built.name}': attribute '{name}' holds feature requests, but "
                "feature_requests is empty; give it that name"
            )


@cache
def _adapter(kind: str, name: str) -> TypeAdapter[Any]:
    hint = members(kind)[name]
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # pydantic refuses a configuration where a data class brings its own
        return TypeAdapter(hint)


def _requests(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, FeatureRequest) for item in items)


def _own_names(component: type) -> Iterator[str]:
    """The public names that the author's own package defines, but for constructor parameters."""
    package = component.__module__.partition(".")[0]
    bases = set(COMPONENTS.values()) | {Component}
    parameters = inspect.signature(component.__init__).parameters  # type: ignore[misc]
    for base in component.__mro__:
        if base in bases or base.__module__.partition(".")[0] != package:
            continue
        for name in {**vars(base), **vars(base).get("__annotations__", {})}:
            if not name.startswith("_") and name not in parameters:
                yield name


def _check_spelling(kind: str, owner: str, name: str, known: dict[str, Any]) -> None:
    if name in known:
        return
    meant = difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
    if meant:
        raise ContractError(
            f"{kind} '{owner}': '{name}' is not a member that the harness knows; did you mean "
            f"'{meant[0]}'? (otherwise rename it or let its name begin with '_')"
        )


def _lacks(kind: str, component: type, missing: list[str]) -> str:
    base = COMPONENTS[kind].__name__
    return (
        f"{kind} '{getattr(component, 'name', component.__name__)}' lacks {', '.join(missing)}; "
        f"adbench_harness.types.{base} describes each"
    )
