"""Backbones return every layer that they declare."""

from __future__ import annotations

from typing import Any

import torch

from adbench_harness.testing.common import Check, close, make


def _runs_every_layer(component: Any) -> None:
    network = make(component).network(component.layers).eval()
    with torch.no_grad():
        grids = network(torch.rand(2, 3, 64, 64))
    assert set(grids) == set(component.layers), (
        f"the network returns {', '.join(sorted(grids))}, not {', '.join(sorted(component.layers))}"
    )
    for name, grid in grids.items():
        assert grid.dim() in (2, 4), f"{name} has shape {[*grid.shape]}, not [B, C, h, w] or [B, C]"
        assert len(grid) == 2, f"{name} has {len(grid)} entries for 2 images"
        broken = int((~torch.isfinite(grid)).sum())
        assert not broken, f"{name}: {broken} of {grid.numel()} values are not finite"


def _runs_alone_as_in_a_batch(component: Any) -> None:
    layers = component.layers[:2]
    network = make(component).network(layers).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    close([together[n][1:2] for n in layers], [alone[n] for n in layers], "one image alone")


CHECKS: dict[str, Check] = {
    "runs_every_layer": _runs_every_layer,
    "subset_invariance": _runs_alone_as_in_a_batch,
}
