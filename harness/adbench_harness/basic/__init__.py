"""The plugin that is always loaded: data sets, metrics, backbones and basic scorers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from adbench_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    from adbench_harness.types import Backbone, Dataset, Metric, Scorer


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    from adbench_harness.basic.datasets import DATASETS

    return DATASETS


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_harness.basic.residuals import RESIDUALS
    from adbench_harness.basic.scorers import MapScorer, OwnScorer, SoftmaxScorer

    return [MapScorer, OwnScorer, SoftmaxScorer, *RESIDUALS]


@hookimpl
def adbench_metrics() -> Iterable[Metric]:
    from adbench_harness.basic.metrics import METRICS

    return METRICS


@hookimpl
def adbench_backbones() -> Iterable[type[Backbone]]:
    from adbench_harness.basic.backbones import BACKBONES

    return BACKBONES
