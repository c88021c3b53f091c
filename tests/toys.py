"""A plugin of toy components for tests: ``--plugins tests/toys.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from adbench_harness.errors import UserError
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap,
    Augmented,
    Augmenter,
    Batch,
    Dataset,
    DefectLogits,
    ImageScore,
    InputSpec,
    Level,
    Model,
    Outputs,
    Preprocessor,
    ProtocolName,
    Sample,
    Scorer,
    Scores,
    Tools,
    TrainOutputs,
    TrainSet,
)

HEIGHT, WIDTH = 40, 48
CATEGORIES = ("dark", "light")
COUNTS = {"train/good": 4, "test/good": 2, "test/scratch": 3, "test/spot": 3}


class ToyData(Dataset):
    """Flat noisy images 48 px wide and 40 high; a spot is a square, a scratch a thin line."""

    name: ClassVar[str] = "toy-data"
    summary: ClassVar[str] = "Two categories of twelve tiny images."
    version: ClassVar[int] = 1
    license: ClassVar[str] = "Apache-2.0"
    mask_threshold: ClassVar[int] = 127

    def build(self, root: Path) -> Path:
        """Draw the images under ``root``, unless they are there."""
        for number, category in enumerate(CATEGORIES):
            for place, count in COUNTS.items():
                for index in range(count):
                    _draw(root / category, place, index, base=80 + 90 * number)
        return root

    def categories(self, root: Path) -> Sequence[str]:
        found = [name for name in CATEGORIES if (root / name).is_dir()]
        if not found:
            raise UserError(f"data set 'toy-data': '{root}' holds neither 'dark' nor 'light'")
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        found = []
        for image in sorted((root / category).glob("t*/*/*.png")):
            part, defect = image.parent.parent.name, image.parent.name
            mask = root / category / "ground_truth" / defect / image.name
            masks = (mask,) if mask.exists() else ()
            found.append(Sample(image, part, int(defect != "good"), masks, defect))  # type: ignore[arg-type]
        return found


def _draw(category: Path, place: str, index: int, base: int) -> None:
    path = category / place / f"{index}.png"
    if path.exists():
        return
    draw = np.random.default_rng([base, index, *place.encode()])
    image = draw.integers(base, base + 10, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    top, left = draw.integers(4, 24, 2)
    if place == "test/spot":
        mask[top : top + 10, left : left + 10] = 255
    if place == "test/scratch":
        mask[top : top + 3, 4:44] = 255
    image[mask > 0] = 240 if place == "test/spot" else 10
    _write(path, image)
    if mask.any():
        _write(category / "ground_truth" / Path(place).name / path.name, mask)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


class ToyPreprocessor(Preprocessor):
    """Scales every pixel."""

    name: ClassVar[str] = "toy-dim"
    summary: ClassVar[str] = "Darkens the image."
    version: ClassVar[int] = 1

    def __init__(self, *, factor: Annotated[float, Field(gt=0, le=1)] = 0.5) -> None:
        self.factor = factor

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return (image * self.factor).astype(np.uint8)


class ToyAugmenter(Augmenter):
    """A grey square somewhere in every second image."""

    name: ClassVar[str] = "toy-square"
    summary: ClassVar[str] = "Squares."
    version: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("square",)

    def __init__(self, *, side: Annotated[int, Field(ge=1)] = 8) -> None:
        self.side = side

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        masks = torch.zeros(len(batch), *batch.images.shape[2:], dtype=torch.bool)
        for mask in masks[::2]:
            top, left = torch.randint(0, mask.shape[0] - self.side, (2,), generator=generator)
            mask[top : top + self.side, left : left + self.side] = True
        masks = masks.to(batch.images.device)
        kind = masks.any(2).any(1).long()
        return Augmented(batch.images.masked_fill(masks[:, None], 0.5), masks, kind)


class ToyModel(Model):
    """Distance to the mean training image, pixel by pixel."""

    name: ClassVar[str] = "toy-mean"
    summary: ClassVar[str] = "Distance to the mean image."
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({AnomalyMap, ImageScore})
    input = InputSpec(32, None)

    def __init__(
        self,
        *,
        gain: Annotated[float, Field(gt=0, description="factor of the scores")] = 1.0,
        layers: tuple[str, ...] = ("a",),
    ) -> None:
        self.gain = gain
        self.layers = layers

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        self.mean = torch.cat([batch.images for batch in train.batches()]).mean(0)
        return self

    def predict(self, batch: Batch) -> Outputs:
        distance = self.gain * (batch.images - self.mean).abs().mean(1)
        return Outputs((32, 32), AnomalyMap((Level(distance),)), ImageScore(distance.amax((1, 2))))

    def learned(self) -> Sequence[Tensor]:
        return [self.mean]


class ToyClassifier(ToyModel):
    """The nearest class mean."""

    name: ClassVar[str] = "toy-classes"
    emits: frozenset[type] = frozenset({DefectLogits})
    protocols: frozenset[ProtocolName] = frozenset({"classification"})

    def __init__(self) -> None:
        pass

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        batches = list(train.batches())
        images = torch.cat([batch.images for batch in batches])
        classes = torch.cat([b.classes for b in batches if b.classes is not None])
        self.classes = train.classes
        self.mean = torch.stack(
            [images[classes == index].mean(0) for index in range(len(train.classes))]
        )
        return self

    def predict(self, batch: Batch) -> Outputs:
        distances = (batch.images[:, None] - self.mean).square().flatten(2).sum(2)
        return Outputs((32, 32), DefectLogits(-distances, self.classes))


class ToyTrained(ToyModel):
    """The mean image learned by gradient steps, checkpointed after each one.

    ``stop_at`` interrupts a training that was not resumed before that step.
    """

    name: ClassVar[str] = "toy-trained"
    augmentation: Literal["required", "optional", "none"] = "optional"
    steps = 6

    def __init__(self, *, stop_at: Annotated[int, Field(ge=0)] = 0) -> None:
        self.gain = 1.0
        self.stop_at = stop_at

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        start, mean = 0, torch.zeros(3, 32, 32, device=tools.device)
        if state := tools.checkpoint.load():
            start, mean = state["step"], state["mean"].to(tools.device)
            tools.generator.set_state(state["generator"])
        for step in range(start, self.steps):
            if self.stop_at == step > start:
                raise RuntimeError(f"interrupted before step {step}")
            for batch in train.batches(2, tools.generator):
                images = batch.images
                if tools.augmenter:
                    images = tools.augmenter.augment(batch, tools.generator).images
                mean = mean + 0.3 * (images.mean(0) - mean)
            tools.checkpoint.save(
                {"step": step + 1, "mean": mean, "generator": tools.generator.get_state()}
            )
            tools.progress(step + 1, self.steps)
            tools.log("mean", float(mean.mean()))
        self.mean = mean
        return self


class ToyWrapper(ToyModel):
    """Another model as a parameter."""

    name: ClassVar[str] = "toy-wrapper"
    default: ClassVar[bool] = False

    def __init__(
        self,
        *,
        detector: Annotated[Model, "any model"] = "toy-mean",  # type: ignore[assignment]
        scorer: Scorer | None = None,
    ) -> None:
        self.detector = detector
        self.scorer = scorer

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        self.detector.fit(train, tools)
        return self

    def predict(self, batch: Batch) -> Outputs:
        return self.detector.predict(batch)

    def learned(self) -> Sequence[Tensor]:
        return ()


class RaisesInFit(ToyModel):
    """Fails while it fits."""

    name: ClassVar[str] = "toy-raises"
    default: ClassVar[bool] = False

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        raise RuntimeError("the toy broke")


class ReturnsNan(ToyModel):
    """Scores that are not finite."""

    name: ClassVar[str] = "toy-nan"
    default: ClassVar[bool] = False

    def predict(self, batch: Batch) -> Outputs:
        return Outputs(
            (32, 32),
            AnomalyMap((Level(torch.full((len(batch), 32, 32), torch.nan)),)),
            ImageScore(torch.full((len(batch),), torch.nan)),
        )


class WrongShape(ToyModel):
    """A map and a score too few."""

    name: ClassVar[str] = "toy-short"
    default: ClassVar[bool] = False

    def predict(self, batch: Batch) -> Outputs:
        count = len(batch) - 1
        return Outputs(
            (32, 32),
            AnomalyMap((Level(torch.zeros(count, 32, 32)),)),
            ImageScore(torch.zeros(count)),
        )


class ToyScorer(Scorer):
    """The map as it is; the image score is its mean or maximum."""

    name: ClassVar[str] = "toy-map"
    summary: ClassVar[str] = "The map and its highest value."
    version: ClassVar[int] = 1
    accepts: frozenset[type] = frozenset({AnomalyMap})

    def __init__(self, *, pool: Literal["max", "mean"] = "max") -> None:
        self.pool = pool

    def score(self, outputs: Outputs) -> Scores:
        (level,) = outputs[AnomalyMap].levels
        pixels = level.values.flatten(1)
        return Scores(pixels.amax(1) if self.pool == "max" else pixels.mean(1), level.values)


class ToyFittedScorer(ToyScorer):
    """Image scores in units of the training images' highest."""

    name: ClassVar[str] = "toy-fitted"
    default: ClassVar[bool] = False
    accepts: frozenset[type] = frozenset({ImageScore})

    def __init__(self) -> None:
        pass

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> None:
        self.highest = max(float(o[ImageScore].values.max()) for o in outputs)

    def score(self, outputs: Outputs) -> Scores:
        return Scores(outputs[ImageScore].values / self.highest)


class RaisesInScore(ToyScorer):
    """Fails while it scores."""

    name: ClassVar[str] = "toy-raises"
    default: ClassVar[bool] = False

    def score(self, outputs: Outputs) -> Scores:
        raise RuntimeError("the scorer broke")


@hookimpl
def adbench_datasets() -> Iterable[type[Dataset]]:
    return [ToyData]


@hookimpl
def adbench_preprocessors() -> Iterable[type[Preprocessor]]:
    return [ToyPreprocessor]


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    return [ToyAugmenter]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    return [ToyModel, ToyTrained, ToyClassifier, ToyWrapper, RaisesInFit, ReturnsNan, WrongShape]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    return [ToyScorer, ToyFittedScorer, RaisesInScore]
