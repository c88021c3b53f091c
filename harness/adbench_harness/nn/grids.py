"""The layers of a frozen network as grids."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from adbench_harness.errors import UserError
from adbench_harness.types import Batch, Features


def grids(extract: Features, batch: Batch, layers: Sequence[str]) -> list[Tensor]:
    """The layers [B, C, h, w] of a batch; raises UserError if one is a vector."""
    found = extract(batch)
    for layer in layers:
        if found[layer].dim() != 4:
            raise UserError(
                f"layer '{layer}' is one vector for the whole image, which has no positions; name "
                "a layer before it"
            )
    return [found[layer] for layer in layers]
