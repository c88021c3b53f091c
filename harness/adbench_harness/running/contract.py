"""Does what a component returned keep its promise? What does not is named as its mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from adbench_harness.errors import ContractError
from adbench_harness.types import (
    AnomalyMap,
    DefectLogits,
    ImageEmbeddings,
    ImageScore,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    PatchGaussian,
    Reconstruction,
    Scores,
)

_DIMENSIONS: Mapping[type, int] = {
    PatchEmbeddings: 4,
    ImageEmbeddings: 2,
    Reconstruction: 4,
    AnomalyMap: 3,
    ImageScore: 1,
    DefectLogits: 2,
}


_LEARNT = (PatchBank, PatchGaussian)


def check_outputs(outputs: Any, emits: frozenset[type], count: int, *, learnt: bool = True) -> None:
    """A model's outputs hold what it declared, for every image of the batch, finite.

    ``learnt`` False passes over what the model learned in its fit, which no batch changes and
    which may be a thousand times a batch's size.
    """
    if not isinstance(outputs, Outputs):
        raise ContractError(f"predict returned {type(outputs).__name__}, not Outputs")
    missing = [port.__name__ for port in emits if port not in outputs.ports]
    if missing:
        raise ContractError(f"predict did not return the declared {', '.join(sorted(missing))}")
    for kind, port in outputs.ports.items():
        if kind in _LEARNT and not learnt:
            continue
        for tensor in tensors(port):
            if kind not in _LEARNT and tensor.shape[0] != count:
                raise ContractError(
                    f"{kind.__name__}: {tensor.shape[0]} entries for a batch of {count} images"
                )
            if tensor.dim() != _DIMENSIONS.get(kind, tensor.dim()):
                raise ContractError(
                    f"{kind.__name__}: shape {tuple(tensor.shape)}, not {_DIMENSIONS[kind]}-d"
                )
            if kind is not Reconstruction and not finite(tensor):
                raise ContractError(f"{kind.__name__} holds a value that is not finite")


def check_scores(scores: Any, count: int) -> None:
    """A scorer's scores are there, shaped as declared, float and finite."""
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
        if not finite(value):
            raise ContractError(f"{name}: a score is not finite (nan or infinity)")
    if scores.classes is not None and scores.classes.shape[1] != len(scores.class_names):
        raise ContractError(
            f"classes: {scores.classes.shape[1]} columns for {len(scores.class_names)} names"
        )


def finite(tensor: Tensor) -> bool:
    """Whether no value is nan or infinite."""
    # A sum is finite only if every term is: one pass without a copy, for all but broken tensors
    # and those whose sum overflows.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a port that belong to the batch, levels included."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value):
        for item in fields(value):
            if item.name != "valid":
                yield from tensors(getattr(value, item.name))
