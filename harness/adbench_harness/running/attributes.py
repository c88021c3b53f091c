"""The attributes of a component, and whether ``fit`` changed one."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
from torch import Tensor, nn

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.types import Component

PLAIN = (str, int, float, bool, type(None))
"""Types whose values JSON can represent."""


def attributes(component: Any) -> dict[str, Any]:
    """The attributes of an instance; for an ``nn.Module`` also parameters, buffers and modules."""
    held = dict(vars(component))
    if isinstance(component, nn.Module):
        for registry in ("_parameters", "_buffers", "_modules"):
            held |= {name: value for name, value in held[registry].items() if value is not None}
        inner = _inner(component.__class__.__mro__)
        held = {name: value for name, value in held.items() if name not in inner}
    return held


@cache
def _inner(bases: tuple[type, ...]) -> frozenset[str]:
    """The attributes that torch or Lightning sets for itself, such as the trainer."""
    names = set(vars(nn.Module()))
    for base in bases:
        if base.__name__ == "LightningModule" and "lightning" in base.__module__:
            names |= vars(base()).keys()
    return frozenset(names - {"training"})


def unchanged(value: Any, before: Any) -> bool:
    """Whether ``fit`` left an attribute as the constructor made it.

    A value that may have been changed in place counts as changed if there is no way to tell.
    """
    return _same(value, before, [])


def _same(value: Any, before: Any, within: list[int]) -> bool:
    if type(value) is not type(before) or isinstance(value, Tensor | nn.Module | Neighbours):
        return False
    if isinstance(value, Component):
        return False
    if id(value) in within:  # a cycle: the value that contains it is being compared
        return True
    within = [*within, id(value)]

    def same(pairs: Any) -> bool:
        return all(_same(one, other, within) for one, other in pairs)

    if isinstance(value, PLAIN):
        return repr(value) == repr(before)  # nan is not equal to itself
    if isinstance(value, np.ndarray):
        known = value.dtype == before.dtype and value.dtype.kind != "O"
        return known and np.array_equal(value, before)
    if isinstance(value, list | tuple):
        return len(value) == len(before) and same(zip(value, before, strict=True))
    if isinstance(value, dict):
        return [*value] == [*before] and same(zip(value.values(), before.values(), strict=True))
    if isinstance(value, MethodType):
        return value.__func__ is before.__func__
    if isinstance(value, FunctionType):
        return value.__code__ is before.__code__
    if isinstance(value, type | BuiltinFunctionType):
        return value is before
    if isinstance(value, partial):
        names = ["func", "args", "keywords"]
        return same((getattr(value, name), getattr(before, name)) for name in names)
    if is_dataclass(value):
        names = [item.name for item in fields(value)]
        return same((getattr(value, name), getattr(before, name)) for name in names)
    if any("__eq__" in vars(base) for base in type(value).__mro__[:-1]):
        return bool(value == before)
    if hasattr(value, "__dict__"):
        return same([(vars(value), vars(before))])
    return value is before
