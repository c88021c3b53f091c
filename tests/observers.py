"""A plugin of components that record what they were given: ``--plugins tests/observers.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    Batch,
    Dataset,
    FeatureRequest,
    ImageScore,
    InputSpec,
    Model,
    Outputs,
    ProtocolName,
    Sample,
    Scorer,
    Scores,
    Tools,
    TrainOutputs,
    TrainSet,
    WeightFile,
)
from toys import HEIGHT, WIDTH, ToyData

SEEN: dict[str, list[Any]] = {}


def note(key: str, value: Any) -> None:
    SEEN.setdefault(key, []).append(value)


class Watcher(Model):
    """The image's mean; it notes what ``fit`` and ``predict`` see."""

    name: ClassVar[str] = "watcher"
    summary: ClassVar[str] = "Notes what it sees."
    version: ClassVar[int] = 1
    emits = frozenset({ImageScore})
    protocols: frozenset[ProtocolName] = frozenset({"unsupervised", "zero-shot"})
    input = InputSpec((HEIGHT, WIDTH), None)

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        note("train", len(train))
        note("held out", len(train.validation))
        note("names", train.categories)
        note("means", sorted(float(b.images.mean()) for b in train.batches(1)))
        self.offset = torch.zeros(1)
        return self

    def predict(self, batch: Batch) -> Outputs:
        note("categories", batch.categories)
        note("size", tuple(batch.images.shape[-2:]))
        return Outputs(self.input.size, ImageScore(batch.images.mean((1, 2, 3)) + self.offset))


class Informed(Watcher):
    """Wants to know the categories."""

    name: ClassVar[str] = "informed"
    category_names = True


class Deep(Watcher):
    """Wants a further image of each sample."""

    name: ClassVar[str] = "deep"
    extras = ("depth",)

    def predict(self, batch: Batch) -> Outputs:
        note("depth", (tuple(batch.extras["depth"].shape), float(batch.extras["depth"].max())))
        return super().predict(batch)


class Adaptive(Watcher):
    """Adds to its memory whatever it predicts."""

    name: ClassVar[str] = "adaptive"
    updates_in_predict = True

    def predict(self, batch: Batch) -> Outputs:
        outputs = super().predict(batch)
        self.offset = self.offset + len(batch)
        note("offset", (id(self), float(self.offset)))
        return outputs


class Weighted(Watcher):
    """Brings a file of weights of its own."""

    name: ClassVar[str] = "weighted"
    weights = (WeightFile("https://example.org/own.bin", "own.bin", None, "CC0"),)

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        note("weights", tools.weights("own.bin").read_bytes())
        return super().fit(train, tools)


class Zoomed(Watcher):
    """Asks a backbone for another input size than its own."""

    name: ClassVar[str] = "zoomed"

    def __init__(self, *, zoom: Annotated[int, Field(ge=8)] = 96) -> None:
        self.feature_requests = (
            FeatureRequest("embedded", ("layer1",)),
            FeatureRequest("embedded", ("layer1",), InputSpec(zoom, None)),
        )

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        own, other = map(tools.features, self.feature_requests)
        for batch in train.batches():
            altered = Batch(batch.images, batch.seeds)
            note("grids", (own(batch)["layer1"].shape, other(batch)["layer1"].shape))
            kept, again = other(batch)["layer1"], other(altered)["layer1"]
            between = (kept - kept.roll(1, 0)).norm()
            note("difference", float((kept - again).norm() / between))
        return super().fit(train, tools)


class Threshold(Scorer):
    """Notes what a scorer's fit gets."""

    name: ClassVar[str] = "threshold"
    summary: ClassVar[str] = "The score as it is."
    version: ClassVar[int] = 1
    accepts = frozenset({ImageScore})

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> Any:
        walks = [sum(len(o[ImageScore].values) for o in outputs) for _ in range(2)]
        held = sum(len(o[ImageScore].values) for o in outputs.validation)
        note("scorer", (*walks, len(outputs), held, float(torch.rand((), generator=generator))))

    def score(self, outputs: Outputs) -> Scores:
        return Scores(image=outputs[ImageScore].values)


class DeepData(ToyData):
    """The toys, each with its own image as its depth."""

    name: ClassVar[str] = "deep-toys"

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        found = super().samples(root, category, split_seed)
        return [replace(sample, extras={"depth": sample.image}) for sample in found]


@hookimpl
def adbench_datasets() -> list[type[Dataset]]:
    return [DeepData]


@hookimpl
def adbench_models() -> list[type[Model]]:
    return [Watcher, Informed, Deep, Adaptive, Weighted, Zoomed]


@hookimpl
def adbench_scorers() -> list[type[Scorer]]:
    return [Threshold]
