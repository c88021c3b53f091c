"""Code that the checks of several kinds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench_harness.running import contract
from adbench_harness.types import Outputs

Check = Callable[[Any], None]
TOLERANCE = 1e-5


class Skipped(Exception):  # noqa: N818  # an outcome, not an error
    """The check needs something that is missing, or does not apply to this component."""


def make(component: Any) -> Any:
    """An instance with the component's ``check_parameters``."""
    return component(**component.check_parameters)


_EXCUSES = {
    "transductive": "its scores depend on the other test images, as it declares (transductive)",
    "updates_in_predict": "predict changes what it learned, as it declares (updates_in_predict)",
}


def excuse(component: Any, *attributes: str) -> None:
    """Raise Skipped if the component declares an attribute for which the check does not apply."""
    made = make(component)
    for attribute in attributes:
        if getattr(made, attribute):
            raise Skipped(_EXCUSES[attribute])


def close(first: Sequence[Tensor], second: Sequence[Tensor], what: str) -> None:
    """Assert that tensors are equal up to rounding, relative to the largest value of each."""
    for a, b in _pairs(first, second, what):
        scale = max(float(a.abs().max()), 1e-12)
        difference = (a - b).abs().flatten()
        worst = int(difference.argmax())
        assert difference[worst] <= TOLERANCE * scale, (
            f"{what}: {float(a.flatten()[worst]):.9g} became {float(b.flatten()[worst]):.9g}, a "
            f"difference of {float(difference[worst]) / scale:.1e} of the largest value "
            f"{scale:.3g}; {TOLERANCE:g} is allowed"
        )


def identical(first: Sequence[Any], second: Sequence[Any], what: str) -> None:
    """Assert that tensors or arrays are equal bit for bit."""
    for a, b in _pairs(first, second, what):
        changed = (a != b).flatten()
        if changed.any():
            index = int(changed.int().argmax())
            raise AssertionError(
                f"{what}: {int(changed.sum())} of {len(changed)} values changed, the first one "
                f"from {a.flatten()[index].item():.9g} to {b.flatten()[index].item():.9g}"
            )


def _pairs(first: Sequence[Any], second: Sequence[Any], what: str) -> list[tuple[Tensor, Tensor]]:
    assert len(first) == len(second), f"{what}: {len(first)} tensors became {len(second)}"
    pairs = [(_tensor(a), _tensor(b)) for a, b in zip(first, second, strict=True)]
    for a, b in pairs:
        assert a.shape == b.shape, f"{what}: shape {[*a.shape]} became {[*b.shape]}"
        assert a.dtype == b.dtype, f"{what}: {a.dtype} became {b.dtype}"
    return [(a, b) for a, b in pairs if a.numel()]


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(values) if isinstance(values, np.ndarray) else values


def per_image(outputs: Outputs) -> list[Tensor]:
    """The tensors that have one entry per image."""
    return [tensor for port in outputs.ports.values() for tensor in contract.tensors(port)]


def blob_is_hot(maps: Tensor, name: str) -> None:
    """Assert that maps [B, h, w] are higher in the middle, at the defect, than in a corner."""
    height, width = maps.shape[-2:]
    blob = maps[:, height * 9 // 20 : height * 11 // 20, width * 9 // 20 : width * 11 // 20].mean()
    corner = maps[:, : height // 5, : width // 5].mean()
    assert blob > corner, (
        f"{name}: the map is not higher at the defect: its mean is {float(blob):.6g} there and "
        f"{float(corner):.6g} in a corner"
    )
