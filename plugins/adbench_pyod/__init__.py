"""PyOD's outlier detectors as scorers of embeddings."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.errors import require
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Scorer

require("pyod")


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_pyod.scorers import SCORERS

    return SCORERS
