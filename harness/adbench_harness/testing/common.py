"""What checks of several kinds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from adbench_harness.running import contract
from adbench_harness.types import (
    Outputs,
)

Check = Callable[[Any], None]
TOLERANCE = 1e-5


class Skipped(Exception):  # noqa: N818  # an outcome, not an error
    """The check needs something that is not here."""


def make(component: Any) -> Any:
    """An instance with the parameters that it wants to be checked with."""
    return component(**component.check_parameters)


def close(first: Sequence[Tensor], second: Sequence[Tensor], what: str) -> None:
    for a, b in zip(first, second, strict=True):
        scale = max(float(a.abs().max()), 1e-12)
        worst = float((a - b).abs().max()) / scale
        assert worst <= TOLERANCE, f"{what}: relative difference {worst:.1e}"


def per_image(outputs: Outputs) -> list[Tensor]:
    """The tensors with an entry an image."""
    return [tensor for port in outputs.ports.values() for tensor in contract.tensors(port)]


def blob_is_hot(maps: Tensor, name: str) -> None:
    side = maps.shape[-1]
    blob = maps[:, side * 9 // 20 : side * 11 // 20, side * 9 // 20 : side * 11 // 20]
    corner = maps[:, : side // 5, : side // 5]
    assert blob.mean() > corner.mean(), f"{name}: the map is not hot where the defect is"
