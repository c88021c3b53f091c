"""Fitted pipelines as a result stores them: one safetensors file, with the rest as JSON in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "adbench"
"""The key of the JSON in the file's metadata."""


@dataclass(frozen=True)
class Learned:
    """A component's learned state.

    ``values`` is JSON with an entry for each attribute, in which a tensor is named by its key in
    ``tensors``. Tensors are contiguous and share no memory, as safetensors requires. ``numbers`` is
    the number of elements of all tensors and parameters. Running statistics of batch normalisation
    are stored but, as usual, not counted.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)
    numbers: int


@dataclass(frozen=True)
class Fitted:
    """What each part of a pipeline learned, and from which images.

    ``depth`` is the bits of the values of the images' files; ``heights`` and ``widths`` are those
    of the smallest and the largest training image, in px. The parts are ``model``, ``scorer`` and,
    for each preprocessor, ``preprocessor`` with its place in the chain.
    """

    parts: Mapping[str, Learned]
    heights: tuple[int, int]
    widths: tuple[int, int]
    depth: int = 8


def encode(fitted: Fitted) -> bytes:
    """The content of a file with a fitted pipeline."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for part, one in fitted.parts.items():
        for key, tensor in one.tensors.items():
            here = tensor.detach().cpu()
            storage = here.untyped_storage().data_ptr()
            # Two parts may hold the same tensor, which safetensors refuses.
            tensors[f"{part}/{key}"] = here.clone() if storage in seen else here
            seen.add(storage)
    parts = {p: {"values": one.values, "numbers": one.numbers} for p, one in fitted.parts.items()}
    images = {"heights": fitted.heights, "widths": fitted.widths, "depth": fitted.depth}
    text = json.dumps({"parts": parts, **images}, allow_nan=False)
    return save(tensors, {_KEY: text})


def decode(path: Path) -> Fitted:
    """The inverse of ``encode``. Raises an error of any type if the file is another one."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()[_KEY])
        names = list(file.keys())
        parts = {}
        for part, one in content["parts"].items():
            own = [name for name in names if name.startswith(f"{part}/")]
            tensors = {name.removeprefix(f"{part}/"): file.get_tensor(name) for name in own}
            parts[part] = Learned(one["values"], tensors, one["numbers"])
        (low, high), (narrow, wide) = content["heights"], content["widths"]
        return Fitted(parts, (low, high), (narrow, wide), content["depth"])
