"""The normal and the defective part of a labelled training set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from adbench_harness.types import GOOD, Batch, ImageSet, Model, Outputs, TrainSet

BATCH = 16


@dataclass(frozen=True)
class Subset:
    """The ``normal`` images of ``train``, or the others; implements ``TrainSet``.

    Handles are kept, so that features that were already computed are used for these images too.
    """

    train: TrainSet
    normal: bool

    def __len__(self) -> int:
        return sum(int(self._kept(batch).sum()) for batch in self.train.batches())

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Full batches, in the set's order or in an order drawn by ``generator``."""
        images = self.train.batches(1, generator)
        kept = (image for image in images if self._kept(image))
        while part := list(islice(kept, size or BATCH)):
            yield Batch(
                images=torch.cat([image.images for image in part]),
                seeds=torch.cat([image.seeds for image in part]),
                classes=torch.cat([image.classes for image in part if image.classes is not None]),
                handles=_joined(part),
            )

    @property
    def validation(self) -> ImageSet:
        return self.train.validation

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def categories(self) -> tuple[str, ...]:
        return self.train.categories

    def _kept(self, batch: Batch) -> torch.Tensor:
        assert batch.classes is not None, "a classification split provides the classes"
        good = self.classes.index(GOOD) if GOOD in self.classes else -1
        return (batch.classes == good) == self.normal


@dataclass(frozen=True)
class SubsetOutputs:
    """A detector's outputs for the images of a subset; implements ``TrainOutputs``."""

    detector: Model
    images: Subset

    def __iter__(self) -> Iterator[Outputs]:
        return (self.detector.predict(batch) for batch in self.images.batches())

    def __len__(self) -> int:
        return len(self.images)

    @property
    def validation(self) -> Iterator[Outputs]:
        return (self.detector.predict(batch) for batch in self.images.validation.batches())

    @property
    def classes(self) -> tuple[str, ...]:
        return ()


def _joined(part: list[Batch]) -> tuple[int, ...] | None:
    handles = [handle for image in part for handle in image.handles or ()]
    return tuple(handles) if len(handles) == len(part) else None
