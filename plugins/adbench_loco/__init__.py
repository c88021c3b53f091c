"""The metrics of MVTec LOCO AD: logical and structural anomalies apart, and saturated overlap."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Metric


@hookimpl
def adbench_metrics() -> Iterable[Metric]:
    from adbench_loco.metrics import METRICS

    return METRICS
