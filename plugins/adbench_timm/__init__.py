"""Networks of timm as backbones, including DINOv2's vision transformers."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.errors import require
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Backbone

require("timm")


@hookimpl
def adbench_backbones() -> Iterable[type[Backbone]]:
    from adbench_timm.backbones import BACKBONES

    return BACKBONES
