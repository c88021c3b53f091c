"""FastFlow (Yu et al., 2021): a convolutional normalizing flow on each layer of a backbone."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model, Recipe, Reported, Scorer


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_fastflow.model import FastFlow

    return [FastFlow]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_fastflow.scorers import LatentProbability

    return [LatentProbability]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    for name, backbone, kernels in (
        ("fastflow-wrn50", "wide_resnet50_2", "alternate"),
        ("fastflow-r18", "resnet18", "3x3"),
    ):
        yield Recipe(
            name,
            f"FastFlow on a {backbone} at 256 px, 500 epochs, as in the paper.",
            {
                "models": [f"fastflow:preset=paper:kernels={kernels}"],
                "backbone": backbone,
                "scorers": ["latent-probability"],
                "preprocessors": ["none"],
            },
        )


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
