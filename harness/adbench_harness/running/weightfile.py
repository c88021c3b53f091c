"""A file of weights as named tensors, whatever its author wrapped them in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adbench_harness.errors import UserError

State = Mapping[str, Tensor]


class Contents(NamedTuple):
    """What a file has for a network: the tensors it needs, and the names of the other ones.

    Both without the prefix of the file; ``others`` are those that have the same prefix.
    """

    known: dict[str, Tensor]
    others: list[str]


_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
"""The beginning of a name in torchvision's files of DenseNets, which are older than its names."""


def read(path: Path, needed: State) -> Contents:
    """The tensors of a file under the names of ``needed``, as far as it has them, and the others.

    They may be in dicts of the file (``state_dict``, ``model``) and have a prefix (``module.``,
    ``backbone.``). If no reading has them all, the fullest one is returned. Raises UserError for a
    file that holds something else, and where several readings fit.
    """
    tensors = {_DENSE.sub(r"\1", name): tensor for name, tensor in _flat(_loaded(path))}
    if not tensors:
        raise UserError(
            f"weights '{path}' cannot be read as named tensors (there are none); fetch the file "
            "again"
        )
    required = [name for name in needed if not name.endswith("num_batches_tracked")]
    readings = {prefix: _named(tensors, prefix, needed) for prefix in _prefixes(tensors, required)}
    if all(name in readings[""] for name in required):
        return _contents(tensors, "", readings[""])
    fitting = [
        prefix
        for prefix, reading in readings.items()
        if all(name in reading and reading[name].shape == needed[name].shape for name in required)
    ]
    if len(fitting) > 1:
        raise UserError(
            f"weights '{path}' fit as '{fitting[0]}' and as '{fitting[1]}'; save one of them in a "
            "file of its own"
        )
    best = fitting[0] if fitting else max(readings, key=lambda prefix: len(readings[prefix]))
    return _contents(tensors, best, readings[best])


def described(path: Path) -> str:
    """What the parameters in a file are called, for a message: the beginnings of their names."""
    names = [name for name, _ in _flat(_loaded(path))]
    first = names[0]
    prefix = first.rpartition(".")[0]
    while prefix and not all(name.startswith(f"{prefix}.") for name in names):
        prefix = prefix.rpartition(".")[0]
    return f"all begin with '{prefix}.'" if prefix else f"are called '{first}' and so on"


def _flat(content: Any, above: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a dict and in those within it, by their names joined with dots."""
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if isinstance(value, Tensor):
            yield f"{above}{name}", value
        else:
            yield from _flat(value, f"{above}{name}.")


def _prefixes(tensors: State, required: list[str]) -> list[str]:
    """What may stand before the names, the empty prefix first."""
    found = {"": None}
    for wanted in required:
        for name in tensors:
            if name.endswith(f".{wanted}"):
                found[name.removesuffix(wanted)] = None
        if len(found) > 1:
            break
    return list(found)


def _named(tensors: State, prefix: str, needed: State) -> dict[str, Tensor]:
    return {name: tensors[prefix + name] for name in needed if prefix + name in tensors}


def _contents(tensors: State, prefix: str, known: dict[str, Tensor]) -> Contents:
    names = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
    return Contents(known, [name for name in names if name not in known])


def _loaded(path: Path) -> Any:
    try:
        if _is_safetensors(path):
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content if isinstance(content, Mapping) else content.state_dict()
    except Exception as error:
        # Not torch's own words: they advise to load the file unsafely.
        other = re.search(r"GLOBAL ([\w.]+)", str(error))
        if other:
            raise UserError(
                f"weights '{path}' cannot be read as named tensors: they hold {other[1]}, and "
                "loading such objects could run code; save the state dict alone "
                "(torch.save(network.state_dict(), FILE))"
            ) from error
        raise UserError(
            f"weights '{path}' cannot be read as named tensors ({type(error).__name__}); "
            "fetch the file again"
        ) from error


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins with the length of a JSON header and that header."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return file.read(1) == b"{" and size < path.stat().st_size
