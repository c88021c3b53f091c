"""The grammar of every axis: comma = alternatives, plus = chain, colon or () = parameters.

none,mean:size=11                two alternatives, the second with a parameter
mean:size=11+median              a chain of two
afps:detector=padim(dims=64)     a component as a parameter
patchcore:layers=[layer1,layer2] a list as one value
'folder/my part (1)'             quotes around a name that contains , + : ( or [
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adbench_harness.errors import UserError

_QUOTED = r"""(?:'[^']*'|"[^"]*")"""
_INNER = re.compile(rf"""((?:{_QUOTED}|[^()'"])*)\((.*)\)""", re.DOTALL)
_CLOSING = {")": "(", "]": "["}


@dataclass(frozen=True)
class Wanted:
    """A component's name and the parameters that were written, not yet checked."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


def split(text: str, separator: str) -> list[str]:
    """``text`` split at each ``separator`` that is outside brackets and quotes.

    >>> split("a:x=[1,2],b", ",")
    ['a:x=[1,2]', 'b']
    """
    parts, depth, quote, start = [], [""], "", 0
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([":
            depth.append(char)
        elif char in _CLOSING:
            if depth.pop() != _CLOSING[char]:
                raise UserError(f"'{text}': the '{char}' has no opening bracket")
        elif char == separator and len(depth) == 1:
            parts.append(text[start:index])
            start = index + 1
    if quote or len(depth) > 1:
        raise UserError(f"'{text}': a bracket or quote is not closed")
    return [part.strip() for part in [*parts, text[start:]]]


def names(text: str) -> list[str]:
    """The names in a comma-separated list; an empty text has no names."""
    return [name for name in split(text, ",") if name]


def component(text: str) -> Wanted:
    """``name``, ``name:key=value:key=value`` or ``name(key=value,key=value)``."""
    name, *settings = split(text, ":")
    if inner := _INNER.fullmatch(name):
        name = inner[1].strip()
        settings = [*split(inner[2], ","), *settings]
    name = re.sub(_QUOTED, lambda quoted: quoted[0][1:-1], name)
    if not name:
        raise UserError(f"'{text}': a component's name is missing")
    params = {}
    for setting in settings:
        key, equals, written = setting.partition("=")
        if not equals or not key.strip():
            raise UserError(
                f"'{text}': '{setting}' is not a parameter; write name=value, or quote a name that "
                "contains one of , + : ( ["
            )
        if (key := key.strip()) in params:
            raise UserError(f"'{text}': parameter '{key}' is set twice; a grid is {key}=[a,b]")
        params[key] = value(written)
    return Wanted(name, params)


def value(text: str) -> Any:
    """A string, or the list of strings inside brackets; the parameter converts it to its type."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return [value(item) for item in split(text[1:-1], ",") if item]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def chains(text: str) -> list[list[Wanted]]:
    """Alternatives, each a chain of components; ``none`` is the empty chain."""
    return [
        [] if part == "none" else [component(link) for link in split(part, "+")]
        for part in split(text, ",")
    ]
