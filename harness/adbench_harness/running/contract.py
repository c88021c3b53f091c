"""Checks a component's output against its declaration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from adbench_harness.errors import ContractError
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.types import AnomalyMap, Outputs, Port, Scores


def check_outputs(
    outputs: Any, emits: frozenset[type[Port]], count: int, *, shared: bool = True
) -> None:
    """Raise ContractError unless the outputs have finite values of every declared port and image.

    If ``shared`` is False, values that are the same for every batch are skipped, such as a memory
    bank, which may be a thousand times as large as a batch.
    """
    if not isinstance(outputs, Outputs):
        raise ContractError(f"predict returned {type(outputs).__name__}, not Outputs")
    missing = [port.__name__ for port in emits if port not in outputs.ports]
    if missing:
        raise ContractError(f"predict did not return the declared {', '.join(sorted(missing))}")
    if isinstance(port := outputs.ports.get(AnomalyMap), AnomalyMap):
        for level in port.levels:
            top, left, bottom, right = level.box or (0, 0, *outputs.input_size)
            _check_aspect("AnomalyMap", level.values, (bottom - top, right - left))
    for kind, port in outputs.ports.items():
        for tensor in tensors(port):
            _check_dimensions(kind, tensor)
            if not len(tensor) == count:
                raise ContractError(
                    f"{kind.__name__}: {tensor.shape[0]} entries for a batch of {count} images"
                )
            if kind.finite and not finite(tensor):
                raise ContractError(f"{kind.__name__} holds a value that is not finite")
        if not shared:
            continue
        for tensor in shared_tensors(port):
            if not finite(tensor):
                raise ContractError(f"{kind.__name__} holds a value that is not finite")


def _check_dimensions(kind: type[Port], tensor: Tensor) -> None:
    if tensor.dim() != (kind.dimensions or tensor.dim()) or not tensor.dim():
        raise ContractError(
            f"{kind.__name__}: shape {tuple(tensor.shape)}, not {kind.dimensions or 'a batch'}-d"
        )


def versions(outputs: Outputs) -> list[int]:
    """How often each tensor of the outputs was modified, shared ones included."""
    found = (t for port in outputs.ports.values() for t in (*tensors(port), *shared_tensors(port)))
    return [tensor._version for tensor in found if not tensor.is_inference()]


def check_unchanged(outputs: Outputs, before: list[int]) -> None:
    """Raise ContractError if the outputs, which other scorers get too, were modified in place."""
    if versions(outputs) != before:
        raise ContractError("score modified the model's outputs in place; work on a copy")


def check_scores(scores: Any, count: int, input_size: tuple[int, int]) -> None:
    """Raise ContractError unless there are scores, finite and of the declared shape.

    A map covers the whole input, so it must have the aspect of ``input_size`` (height, width).
    """
    if not isinstance(scores, Scores):
        raise ContractError(f"score returned {type(scores).__name__}, not Scores")
    present = {"image": (scores.image, 1), "map": (scores.map, 3), "classes": (scores.classes, 2)}
    if all(value is None for value, _ in present.values()):
        raise ContractError("score returned neither an image score, nor a map, nor classes")
    for name, (value, dimensions) in present.items():
        if value is None:
            continue
        if not isinstance(value, Tensor) or value.dim() != dimensions or len(value) != count:
            shape = tuple(getattr(value, "shape", ())) or type(value).__name__
            raise ContractError(f"{name}: shape {shape} for {count} images, not {dimensions}-d")
        if not finite(value.float()):
            raise ContractError(f"{name}: a score is not finite in float32 (nan or infinity)")
    if scores.map is not None:
        _check_aspect("map", scores.map, input_size)
    if scores.classes is not None and scores.classes.shape[1] != len(scores.class_names):
        raise ContractError(
            f"classes: {scores.classes.shape[1]} columns for {len(scores.class_names)} names"
        )
    if odd := [name for name in scores.class_names if not isinstance(name, str)]:
        raise ContractError(f"classes: a name must be a text, not {odd[0]!r}")


def check_chosen(chosen: Any) -> None:
    """Raise ContractError unless a result can store what ``fit`` chose."""
    if not isinstance(chosen, Mapping):
        raise ContractError(f"chosen returned {type(chosen).__name__}, not a mapping")
    for name, value in chosen.items():
        if not isinstance(name, str):
            raise ContractError(f"chosen: a name must be a text, not {type(name).__name__}")
        if not isinstance(value, str | int | float) or not _is_finite(value):
            raise ContractError(
                f"chosen: '{name}' must be a text or a finite number, not {type(value).__name__}"
            )


def _is_finite(value: str | float) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _check_aspect(name: str, maps: Tensor, size: tuple[int, int]) -> None:
    """Raise ContractError unless maps [B, h, w] have the aspect of ``size`` (height, width).

    A px more or less, or a tenth of the aspect, may come from strides that do not divide it.
    """
    if maps.dim() != 3:
        return  # which another check names
    height, width = maps.shape[1:]
    ratio = height / width * size[1] / size[0]
    low, high = ((height - 1) / size[0], (height + 1) / size[0])
    rounded = low <= (width + 1) / size[1] and (width - 1) / size[1] <= high
    if not (rounded or 1 / 1.1 <= ratio <= 1.1):
        raise ContractError(
            f"{name}: {height} x {width} for an input of {size[0]} x {size[1]} (height x width); a "
            "map must cover the whole input and have its aspect"
        )


def finite(tensor: Tensor) -> bool:
    """Whether no value is nan or infinite."""
    # A sum is finite only if every term is (inf and -inf add up to nan), and needs one pass without
    # a copy. The values are checked one by one only if it is not finite, which may be an overflow.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def tensors(value: Any) -> Iterator[Tensor]:
    """The float tensors of a port that have an entry for each image, levels included."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
        return
    for item in _held(value):
        yield from tensors(item)


def shared_tensors(port: Any) -> Iterator[Tensor]:
    """The float tensors of a port that belong to no single image."""
    for name in port.shared:
        for value in _walk(getattr(port, name)):
            if value.is_floating_point():
                yield value


def _held(value: Any) -> Iterator[Any]:
    """The values of a port, a level or a tuple that have an entry for each image."""
    if isinstance(value, tuple | list):
        yield from value
    elif is_dataclass(value):
        shared = getattr(value, "shared", ())
        yield from (getattr(value, item.name) for item in fields(value) if item.name not in shared)


def _walk(value: Any) -> Iterator[Tensor]:
    """Every tensor in tuples, dataclasses and memory banks."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, Neighbours):
        yield value.bank
    elif is_dataclass(value):
        for item in fields(value):
            yield from _walk(getattr(value, item.name))
