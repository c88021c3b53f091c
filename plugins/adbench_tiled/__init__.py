"""Any model on overlapping tiles of large images, so that small defects keep their pixels."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model

requires = ("patchcore",)


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_tiled.model import Tiled

    return [Tiled]
