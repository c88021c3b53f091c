"""A plugin of components that count, dawdle or fail: ``--plugins tests/probes.py``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap,
    Backbone,
    Batch,
    Dataset,
    DefectLogits,
    FeatureRequest,
    InputSpec,
    Level,
    Metric,
    Model,
    Outputs,
    Preprocessor,
    Sample,
    Scorer,
    Scores,
    Tools,
    TrainOutputs,
    TrainSet,
)

Image = NDArray[np.uint8]


class CountingBackbone(Backbone):
    """Two layers; ``seen`` counts the images that went through each network."""

    name: ClassVar[str] = "probe-backbone"
    summary: ClassVar[str] = "Two convolutions that count the images."
    version: ClassVar[int] = 1
    layers: ClassVar[tuple[str, ...]] = ("fine", "coarse")
    seen: ClassVar[Counter[tuple[str, ...]]] = Counter()

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        return _Network(layers)


class _Network(nn.Module):
    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.names = layers
        for name in layers:
            channels = {"fine": 4, "coarse": 8}[name]
            convolution = nn.Conv2d(3, channels, 3, padding=1, bias=False)
            convolution.weight.data.normal_(generator=torch.Generator().manual_seed(channels))
            setattr(self, name, convolution)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        CountingBackbone.seen[self.names] += len(images)
        return {name: getattr(self, name)(images) for name in self.names}


class BrokenBackbone(CountingBackbone):
    """A network that cannot be made."""

    name: ClassVar[str] = "probe-broken-backbone"

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        raise RuntimeError("no such network")


class FeatureModel(Model):
    """Distance to the mean of a layer; ``fits`` counts."""

    name: ClassVar[str] = "probe-features"
    summary: ClassVar[str] = "Distance to a layer's mean."
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap})
    input = InputSpec(32, None)
    fits: ClassVar[int] = 0

    def __init__(
        self, *, layer: Annotated[str, "a layer"] = "fine", backbone: str = "probe-backbone"
    ) -> None:
        self.layer = layer
        self.feature_requests = (FeatureRequest(backbone, (layer,)),)

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        type(self).fits += 1
        self.extract = tools.features(self.feature_requests[0])
        self.mean = torch.cat([self._grid(batch) for batch in train.batches()]).mean(0)
        return self

    def predict(self, batch: Batch) -> Outputs:
        distance = (self._grid(batch) - self.mean).abs().mean(1)
        return Outputs((32, 32), AnomalyMap((Level(distance),)))

    def _grid(self, batch: Batch) -> Tensor:
        return self.extract(batch)[self.layer]

    def learned(self) -> Sequence[Tensor]:
        return [self.mean]


class Brightness(Model):
    """The image itself as its map, whatever was learned."""

    name: ClassVar[str] = "probe-brightness"
    summary: ClassVar[str] = "How bright a pixel is."
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    emits: frozenset[type] = frozenset({AnomalyMap})
    input = InputSpec(32, None)

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        return self

    def predict(self, batch: Batch) -> Outputs:
        return Outputs((32, 32), AnomalyMap((Level(batch.images.mean(1)),)))


class AuxiliaryModel(Brightness):
    """Distance to the mean of an auxiliary data set."""

    name: ClassVar[str] = "probe-auxiliary"
    auxiliary: ClassVar[tuple[str, ...]] = ("probe-textures",)

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        (batch,) = tools.auxiliary("probe-textures").batches()
        self.mean = batch.images.mean()
        return self

    def predict(self, batch: Batch) -> Outputs:
        distance = (batch.images.mean(1) - self.mean).abs()
        return Outputs((32, 32), AnomalyMap((Level(distance),)))


class ConvolutionModel(Brightness):
    """One 3 x 3 convolution from 3 channels to 4, with a bias."""

    name: ClassVar[str] = "probe-convolution"

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        self.layer = nn.Conv2d(3, 4, 3, padding=1)
        return self

    def predict(self, batch: Batch) -> Outputs:
        return Outputs((32, 32), AnomalyMap((Level(self.layer(batch.images).abs().mean(1)),)))

    def learned(self) -> Sequence[Tensor]:
        return list(self.layer.parameters())


class SlowModel(Brightness):
    """Takes its time over a fit and over each batch, and much memory over the fit."""

    name: ClassVar[str] = "probe-slow"

    def __init__(self, *, fit: float = 0.0, predict: float = 0.0, megabytes: int = 0) -> None:
        self.seconds = {"fit": fit, "predict": predict}
        self.megabytes = megabytes

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        ballast = torch.ones(self.megabytes, 2**18)
        time.sleep(self.seconds["fit"])
        del ballast
        return self

    def predict(self, batch: Batch) -> Outputs:
        time.sleep(self.seconds["predict"])
        return super().predict(batch)


class NeedsHandles(Brightness):
    """Fails on images that it cannot look up, as they are when costs are measured."""

    name: ClassVar[str] = "probe-handles"

    def predict(self, batch: Batch) -> Outputs:
        if batch.handles is None:
            raise RuntimeError("who is this?")
        return super().predict(batch)


class UndeclaredFeatures(FeatureModel):
    """Asks for a backbone without having declared it."""

    name: ClassVar[str] = "probe-undeclared"
    default: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.feature_requests = ()

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        tools.features(FeatureRequest("probe-backbone", ("fine",)))
        return self


class CountingPreprocessor(Preprocessor):
    """Counts how often it sees an image."""

    name: ClassVar[str] = "probe-counting"
    summary: ClassVar[str] = "Nothing but a count."
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    seen: ClassVar[Counter[bytes]] = Counter()

    def __call__(self, image: Image) -> Image:
        CountingPreprocessor.seen[image.tobytes()] += 1
        return image


class Negative(CountingPreprocessor):
    """The negative, in a copy."""

    name: ClassVar[str] = "probe-negative"

    def __call__(self, image: Image) -> Image:
        return 255 - image


class NegativeInPlace(CountingPreprocessor):
    """The negative, written into the image it was given."""

    name: ClassVar[str] = "probe-in-place"

    def __call__(self, image: Image) -> Image:
        np.subtract(255, image, out=image)
        return image


class Smaller(CountingPreprocessor):
    """Half the image."""

    name: ClassVar[str] = "probe-smaller"

    def __call__(self, image: Image) -> Image:
        return image[::2, ::2]


class FittedPreprocessor(CountingPreprocessor):
    """Pixels less the mean of the normal images, around grey."""

    name: ClassVar[str] = "probe-fitted"

    def fit(self, images: Iterable[Image]) -> Any:
        self.mean = np.mean([image.mean() for image in images])
        return self

    def __call__(self, image: Image) -> Image:
        return (image - self.mean + 128).clip(0, 255).astype(np.uint8)


class Textures(Dataset):
    """Two grey images that are never tested on."""

    name: ClassVar[str] = "probe-textures"
    summary: ClassVar[str] = "Two grey images."
    version: ClassVar[int] = 1
    license: ClassVar[str] = "Apache-2.0"
    role: ClassVar[Literal["benchmark", "auxiliary"]] = "auxiliary"
    mask_threshold: ClassVar[int] = 127

    def build(self, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        for grey in (50, 100):
            cv2.imwrite(str(root / f"{grey}.png"), np.full((40, 40), grey, np.uint8))
        return root

    def categories(self, root: Path) -> Sequence[str]:
        return ["grey"]

    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        return [Sample(path, "train", 0) for path in sorted(root.glob("*.png"))]


class RandomScorer(Scorer):
    """Draws its scale from the global generator when it is fitted."""

    name: ClassVar[str] = "probe-random"
    summary: ClassVar[str] = "A random scale."
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    accepts: frozenset[type] = frozenset({AnomalyMap})

    def __init__(self, *, spread: float = 1.0) -> None:
        self.spread = spread

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> Any:
        self.scale = 1 + self.spread * torch.rand(())
        return self

    def score(self, outputs: Outputs) -> Scores:
        return Scores(self.scale * outputs[AnomalyMap].levels[0].values.amax((1, 2)))


class Misnamed(RandomScorer):
    """Classes that the data set does not have."""

    name: ClassVar[str] = "probe-misnamed"
    accepts: frozenset[type] = frozenset({DefectLogits})

    def score(self, outputs: Outputs) -> Scores:
        values = outputs[DefectLogits].values.softmax(1)
        return Scores(classes=values, class_names=tuple("abcdefgh"[: values.shape[1]]))


def _raise(_: object) -> float:
    raise ZeroDivisionError("no negatives")


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    return [Textures]


@hookimpl
def adbench_backbones() -> Iterable[type[Backbone]]:
    return [CountingBackbone, BrokenBackbone]


@hookimpl
def adbench_preprocessors() -> Iterable[type[Preprocessor]]:
    return [CountingPreprocessor, Negative, NegativeInPlace, Smaller, FittedPreprocessor]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    return [
        FeatureModel,
        Brightness,
        AuxiliaryModel,
        ConvolutionModel,
        SlowModel,
        NeedsHandles,
        UndeclaredFeatures,
    ]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    return [RandomScorer, Misnamed]


@hookimpl
def adbench_metrics() -> Iterable[Metric]:
    return [Metric("probe_raises", "Fails", _raise, "image")]
