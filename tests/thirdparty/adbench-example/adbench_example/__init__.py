"""A data set, a model, a scorer and a metric, as a third party would bring them."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Dataset, Metric, Model, Scorer


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    from adbench_example.dataset import Dots

    return [Dots]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_example.model import PixelGaussian

    return [PixelGaussian]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_example.scorer import Area

    return [Area]


@hookimpl
def adbench_metrics() -> Iterable[Metric]:
    from adbench_example.metric import DETECTED_AT_5

    return [DETECTED_AT_5]
