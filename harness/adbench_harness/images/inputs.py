"""Images and masks decoded, and a bundle's images as a model sees them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness.errors import ContractError
from adbench_harness.images import decoding, folders
from adbench_harness.images.geometry import Image, to_input
from adbench_harness.types import Batch, InputSpec, Sample

BATCH = 16


Preprocess = Callable[[Image], Image]


@dataclass(frozen=True)
class Inputs:
    """A bundle's images as one model input: uint8 [N, 3, H, W], in the samples' order.

    ``sizes`` int32 [N, 2] are the images' own heights and widths in px. ``seconds`` [N] is what
    preprocessing and resizing each image took, divided by the threads that did it. ``handles`` [N]
    name images to components without saying which they are: their order, and so their labels, stay
    unknown.
    """

    samples: tuple[Sample, ...]
    pixels: torch.Tensor
    sizes: NDArray[np.int32]
    seconds: NDArray[np.float64]

    def size(self, place: int) -> tuple[int, int]:
        """An image's own height and width in px."""
        return int(self.sizes[place, 0]), int(self.sizes[place, 1])

    @cached_property
    def handles(self) -> NDArray[np.int64]:
        return np.random.default_rng().permutation(len(self.pixels))


def prepare(
    samples: Sequence[Sample], preprocess: Preprocess, specs: Sequence[InputSpec]
) -> tuple[dict[InputSpec, Inputs], Iterator[int]]:
    """The inputs for each spec, and an iterator whose walk fills them.

    Every image is decoded and preprocessed once, and resized for each spec, in parallel; the
    iterator gives each place, in order, as soon as its image is there, while threads go on.
    """
    sizes = np.zeros((len(samples), 2), np.int32)
    inputs = {
        spec: Inputs(
            tuple(samples),
            torch.empty((len(samples), 3, *spec.size), dtype=torch.uint8),
            sizes,
            np.zeros(len(samples)),
        )
        for spec in specs
    }

    def one(place: int) -> int:
        image = decoding.decode(samples[place].image)
        sizes[place] = image.shape[:2]
        start = time.perf_counter()
        clean = checked(preprocess, image)
        shared = time.perf_counter() - start
        for spec, made in inputs.items():
            start = time.perf_counter()
            made.pixels[place] = to_input(clean, spec)
            made.seconds[place] = (shared + time.perf_counter() - start) / folders.workers()
        return place

    def walk() -> Iterator[int]:
        with ThreadPoolExecutor(folders.workers()) as pool:
            yield from pool.map(one, range(len(samples)))

    return inputs, walk()


def checked(preprocess: Preprocess, image: Image) -> Image:
    """``preprocess(image)``, held to its contract: uint8, same geometry."""
    result = preprocess(image)
    if (
        not isinstance(result, np.ndarray)
        or result.dtype != np.uint8
        or result.shape != image.shape
    ):
        got = f"{getattr(result, 'dtype', type(result).__name__)} {getattr(result, 'shape', '')}"
        raise ContractError(f"a preprocessor made {got} of a uint8 {image.shape} image")
    return np.ascontiguousarray(result)


class Images:
    """Some of a bundle's images, walked in batches on a device; implements ``ImageSet``."""

    def __init__(
        self,
        inputs: Inputs,
        places: Sequence[int],
        seeds: NDArray[np.int64],
        device: torch.device,
        classes: Mapping[int, int] | None = None,
        *,
        handles: bool = True,
    ) -> None:
        self._handles = handles
        self._inputs = inputs
        self._places = list(places)
        self._seeds = seeds
        self._device = device
        self._classes = classes

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in px."""
        height, width = self._inputs.pixels.shape[-2:]
        return int(height), int(width)

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches in the set's order, or in one that ``generator`` draws."""
        order = self._places
        if generator is not None:
            order = [order[i] for i in torch.randperm(len(order), generator=generator).tolist()]
        for start in range(0, len(order), size or BATCH):
            yield self.batch(order[start : start + (size or BATCH)])

    def batch(self, places: Sequence[int]) -> Batch:
        """The images at ``places`` of the bundle."""
        pixels = self._inputs.pixels[list(places)].to(self._device)
        return Batch(
            images=pixels.float().div_(255),
            seeds=torch.from_numpy(self._seeds[list(places)]).to(self._device),
            classes=None
            if self._classes is None
            else torch.tensor([self._classes[place] for place in places], device=self._device),
            handles=tuple(self._inputs.handles[list(places)].tolist()) if self._handles else None,
        )

    def places(self, batch: Batch) -> list[int]:
        """Where the images of one of this set's batches are in the bundle."""
        where = {handle: place for place, handle in enumerate(self._inputs.handles.tolist())}
        return [where[handle] for handle in batch.handles or ()]


class TrainImages(Images):
    """The training images, with held-out normals and the class names that the split allows."""

    def __init__(
        self,
        *args: Any,
        validation: Images,
        classes: Sequence[str] = (),
        categories: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.validation = validation
        self.classes = tuple(classes)
        self.categories = tuple(categories)
