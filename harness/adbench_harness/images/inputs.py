"""Decodes and prepares images, and gives them to models in batches."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adbench_harness.errors import ContractError, UserError
from adbench_harness.images import decoding, folders, geometry
from adbench_harness.images.geometry import Image, to_input
from adbench_harness.types import Batch, InputSpec, Sample

BATCH = 16


Preprocess = Callable[[Image], Image]


@dataclass(frozen=True)
class Inputs:
    """A bundle's images as one model input: uint8 [N, 3, H, W], in the samples' order.

    ``sizes`` int32 [N, 2] are the images' own heights and widths in px. ``seconds`` [N] is what
    preprocessing and resizing each image took, divided by the threads that did it. ``handles`` [N]
    name images to components; they are random, so that they reveal neither the order of the images
    nor their labels. ``draw`` is their seed. Inputs of the same images share it, since a backbone
    may see the images at another input size than the model.
    """

    samples: tuple[Sample, ...]
    pixels: torch.Tensor
    sizes: NDArray[np.int32]
    seconds: NDArray[np.float64]
    draw: int = field(default_factory=lambda: secrets.randbits(63))

    def size(self, i: int) -> tuple[int, int]:
        """An image's own height and width in px."""
        return int(self.sizes[i, 0]), int(self.sizes[i, 1])

    @cached_property
    def handles(self) -> NDArray[np.int64]:
        return np.random.default_rng(self.draw).permutation(len(self.pixels))


def prepare(
    samples: Sequence[Sample], chains: Sequence[Preprocess], specs: Sequence[InputSpec]
) -> tuple[list[dict[InputSpec, Inputs]], Iterator[int]]:
    """For each chain of preprocessors the inputs for each spec, and an iterator that fills them.

    Every image is decoded once, preprocessed once by each chain, and resized for each spec, in
    parallel; the iterator gives each index, in order, as soon as its image is ready, while threads
    prepare the next ones.
    """
    sizes = np.zeros((len(samples), 2), np.int32)
    made_by = [
        {
            spec: Inputs(
                tuple(samples),
                torch.empty((len(samples), 3, *spec.size), dtype=torch.uint8),
                sizes,
                np.zeros(len(samples)),
            )
            for spec in specs
        }
        for _ in chains
    ]

    def one(i: int) -> int:
        image = decoding.decode(samples[i].image, samples[i].depth)
        sizes[i] = image.shape[:2]
        for spec in specs:
            geometry.check(samples[i].image, spec, image.shape[:2])
        for preprocess, inputs in zip(chains, made_by, strict=True):
            # A preprocessor may write into its image, which the other chains need as it is.
            own = image if inputs is made_by[-1] else image.copy()
            start = time.perf_counter()
            clean = checked(preprocess, own)
            shared = time.perf_counter() - start
            for spec, made in inputs.items():
                start = time.perf_counter()
                made.pixels[i] = to_input(clean, spec)
                made.seconds[i] = (shared + time.perf_counter() - start) / folders.workers()
        return i

    def walk() -> Iterator[int]:
        with ThreadPoolExecutor(folders.workers()) as pool:
            yield from pool.map(one, range(len(samples)))

    return made_by, walk()


@dataclass(frozen=True)
class Extras:
    """The further images that a model declares, read from their files batch by batch."""

    samples: Sequence[Sample]
    names: tuple[str, ...]
    spec: InputSpec

    def batch(self, chosen: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Each image by its name, float32 [B, C, H, W]; raises UserError if a sample lacks one."""

        def one(job: tuple[str, int]) -> torch.Tensor:
            name, i = job
            sample = self.samples[i]
            if name not in sample.extras:
                raise UserError(
                    f"'{sample.image}' has no {name} image beside it; the data set provides "
                    f"{', '.join(sample.extras) or 'none'}"
                )
            return geometry.extra_to_input(decoding.extra(sample.extras[name]), self.spec)

        with ThreadPoolExecutor(folders.workers()) as pool:
            return {
                name: torch.stack(list(pool.map(one, [(name, i) for i in chosen]))).to(device)
                for name in self.names
            }


def checked(preprocess: Preprocess, image: Image) -> Image:
    """``preprocess(image)``; raises ContractError unless it is uint8 with the same geometry."""
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
    """Some of a bundle's images, in batches on a device; implements ``ImageSet``."""

    def __init__(
        self,
        inputs: Inputs,
        indices: Sequence[int],
        seeds: NDArray[np.int64],
        device: torch.device,
        classes: Mapping[int, int] | None = None,
        *,
        handles: bool = True,
        categories: Sequence[str] = (),
        extras: Extras | None = None,
    ) -> None:
        self._categories = categories
        self._extras = extras
        self._handles = handles
        self._inputs = inputs
        self._indices = list(indices)
        self._seeds = seeds
        self._device = device
        self._classes = classes

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in px."""
        height, width = self._inputs.pixels.shape[-2:]
        return int(height), int(width)

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches in the set's order, or in one that ``generator`` draws."""
        order = self._indices
        if generator is not None:
            order = [order[i] for i in torch.randperm(len(order), generator=generator).tolist()]
        for start in range(0, len(order), size or BATCH):
            yield self.batch(order[start : start + (size or BATCH)])

    def batch(self, indices: Sequence[int]) -> Batch:
        """The images at ``indices`` of the bundle."""
        pixels = self._inputs.pixels[list(indices)].to(self._device)
        return Batch(
            images=pixels.float().div_(255),
            seeds=torch.from_numpy(self._seeds[list(indices)]).to(self._device),
            classes=None
            if self._classes is None
            else torch.tensor([self._classes[i] for i in indices], device=self._device),
            handles=tuple(self._inputs.handles[list(indices)].tolist()) if self._handles else None,
            categories=tuple(self._categories[i] for i in indices) if self._categories else (),
            extras=self._extras.batch(indices, self._device) if self._extras else {},
        )

    def indices(self, batch: Batch) -> list[int]:
        """The indices in the bundle of the images of one of this set's batches."""
        where = {handle: i for i, handle in enumerate(self._inputs.handles.tolist())}
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
        super().__init__(*args, categories=categories, **kwargs)
        self.validation = validation
        self.classes = tuple(classes)
        chosen = (categories[i] for i in self._indices) if categories else ()
        self.categories = tuple(dict.fromkeys(chosen))
