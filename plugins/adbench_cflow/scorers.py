"""The likelihood of features under a flow, as CFLOW-AD normalises it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from adbench_harness.nn.flows import log_likelihood
from adbench_harness.nn.levels import located, overlay
from adbench_harness.nn.maps import gaussian_blur
from adbench_harness.nn.patch_scores import Sigma
from adbench_harness.types import (
    Latents,
    Level,
    LogDeterminants,
    Outputs,
    Scorer,
    Scores,
    TrainOutputs,
)


class FlowLikelihood(Scorer):
    """One minus a cell's likelihood, relative to the highest likelihood of its level.

    The log-likelihood of a cell is divided by its number of channels. The levels' maps are
    averaged, and the image score is the map's maximum. If no level has more than one cell, there is
    no map. With ``maximum`` "train", the highest likelihood is that of the training images; with
    "test", it is that of all test images, as in the authors' code.
    """

    name: ClassVar[str] = "flow-likelihood"
    summary: ClassVar[str] = "Likelihood of features under a flow, relative to the highest one."
    paper: ClassVar[str | None] = (
        "Gudovskiy et al., CFLOW-AD: Real-Time Unsupervised Anomaly Detection with Localization "
        "via Conditional Normalizing Flows, WACV 2022"
    )
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({Latents, LogDeterminants})

    def __init__(
        self,
        *,
        maximum: Annotated[
            Literal["train", "test"],
            "the images whose highest likelihood counts: the training images, or all test images "
            "(transductive)",
        ] = "train",
        sigma: Sigma = 0,
    ) -> None:
        self.maximum = maximum
        self.transductive = maximum == "test"
        self.sigma = sigma

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> FlowLikelihood:
        """Find the highest likelihood of each level among the training images."""
        if not self.transductive:
            self.highest = highest(outputs)
        return self

    def adapt(self, outputs: Iterable[Outputs]) -> FlowLikelihood:
        """Find the highest likelihood of each level among the test images."""
        self.highest = highest(outputs)
        return self

    def score(self, outputs: Outputs) -> Scores:
        levels = [
            replace(level, values=1 - (level.values - top).exp())
            for level, top in zip(likelihoods(outputs), self.highest, strict=True)
        ]
        smooth = gaussian_blur(overlay(levels, outputs.input_size), self.sigma)
        return Scores(image=smooth.flatten(1).amax(1), map=smooth if located(levels) else None)


def likelihoods(outputs: Outputs) -> list[Level]:
    """The log-likelihood of each cell, divided by its number of channels: levels [B, h, w]."""
    pairs = zip(outputs[Latents].levels, outputs[LogDeterminants].levels, strict=True)
    return [
        replace(
            latents,
            values=log_likelihood(latents.values.movedim(-1, 1), determinants.values)
            / latents.values.shape[-1],
        )
        for latents, determinants in pairs
    ]


def highest(outputs: Iterable[Outputs]) -> Tensor:
    """The maximum of each level's ``likelihoods`` over all images, [L]."""
    tops = [torch.stack([level.values.amax() for level in likelihoods(batch)]) for batch in outputs]
    return torch.stack(tops).amax(0)
