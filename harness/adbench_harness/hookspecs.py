"""The plugin contract: ten hooks, of which only the last one takes an argument.

A plugin is a module that has some of these functions, marked ``@hookimpl``, and is registered as an
entry point of the group ``adbench``. ``requires = ("other",)`` in the module also loads other
plugins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from adbench_harness.results.store import TrialResult as TrialResult  # for observers' types
    from adbench_harness.types import (
        Augmenter,
        Backbone,
        Dataset,
        Metric,
        Model,
        Preprocessor,
        Recipe,
        Reported,
        Scorer,
    )

PUBLIC = (
    "types",
    "hookspecs",
    "errors",
    "evaluation",
    "reported",
    "nn",
    "datasets",
    "testing",
    "fixtures",
    "api",
)
"""The modules of the harness that a plugin may import."""

GROUP = "adbench"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def adbench_datasets() -> Iterable[type[Dataset]]:  # type: ignore[empty-body]
    """Data sets: classes that list the samples of a category."""


@hookspec
def adbench_preprocessors() -> Iterable[type[Preprocessor]]:  # type: ignore[empty-body]
    """Preprocessors: classes that map training and test images to images of the same geometry."""


@hookspec
def adbench_augmenters() -> Iterable[type[Augmenter]]:  # type: ignore[empty-body]
    """Augmenters: classes that add pseudo-anomalies to training batches."""


@hookspec
def adbench_models() -> Iterable[type[Model]]:  # type: ignore[empty-body]
    """Models: classes with ``fit`` and ``predict``."""


@hookspec
def adbench_scorers() -> Iterable[type[Scorer]]:  # type: ignore[empty-body]
    """Scorers: classes that turn a model's ports into image scores and anomaly maps."""


@hookspec
def adbench_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Metrics: values that describe a function of scores and ground truth."""


@hookspec
def adbench_backbones() -> Iterable[type[Backbone]]:  # type: ignore[empty-body]
    """Backbones: classes of networks with named layers and pinned weights."""


@hookspec
def adbench_recipes() -> Iterable[Recipe]:  # type: ignore[empty-body]
    """Recipes: complete combinations under one name, such as a paper's own settings."""


@hookspec
def adbench_reported() -> Iterable[Reported]:  # type: ignore[empty-body]
    """Reported numbers: those that papers printed, shown next to the measured ones."""


@hookspec
def adbench_trial_finished(result: TrialResult) -> Any:
    """Observer: called in the planning process after each trial's result is stored."""
