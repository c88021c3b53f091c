"""Patch-oriented insertion of pseudo-anomalies (Shah, Urmonov and Kim)."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Augmenter


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    from adbench_patchgrid.augmenter import PatchGrid

    return [PatchGrid]
