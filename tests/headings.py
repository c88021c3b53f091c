"""The headings that a run stores with its metrics."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.basic.metrics import METRICS
from adbench_harness.results.store import Heading
from adbench_harness.running import cost

_KNOWN = {metric.name: Heading.of(metric) for metric in METRICS} | cost.HEADINGS


def columns(metrics: Iterable[str], **own: Heading) -> dict[str, Heading]:
    """Those of a result's metrics; a test's ``own`` ones are plain numbers unless they say more."""
    return {name: (_KNOWN | own).get(name, Heading(name, "")) for name in metrics}
