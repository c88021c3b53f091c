"""From files to a model's input: find, decode, preprocess, resize; and maps the way back."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from torch.nn import functional

from adbench_harness.errors import ContractError, UserError
from adbench_harness.types import Batch, InputSpec, Sample

if TYPE_CHECKING:
    from adbench_harness.trial import Evaluation
    from adbench_harness.types import Dataset

Image = NDArray[np.uint8]
BATCH = 16


def cache_folder() -> Path:
    """Where the harness keeps what it can make again: ``ADBENCH_CACHE``, or the usual place."""
    return Path(os.environ.get("ADBENCH_CACHE") or platformdirs.user_cache_dir("adbench"))


def locate(dataset: Dataset, data: str | None, named: Mapping[str, str]) -> Path:
    """The folder of ``dataset``: named itself, under the data folder, or in the cache.

    A data set that can be built is built into the cache. Raises UserError with what to do.
    """
    if dataset.name in named:
        root = Path(named[dataset.name]).expanduser()
        if not root.is_dir():
            raise UserError(
                f"data set '{dataset.name}': '{root}' is no folder; correct "
                f"--data {dataset.name}=DIR"
            )
        return root
    cached = cache_folder() / "data" / dataset.name
    candidates = [Path(data).expanduser() / dataset.name, cached] if data else [cached]
    for root in candidates:
        if root.is_dir() and not hasattr(dataset, "build"):
            return root
    if hasattr(dataset, "build"):
        return Path(dataset.build(cached))
    raise UserError(
        f"data set '{dataset.name}' is not in {' or '.join(map(str, candidates))}; name its folder "
        f"with --data {dataset.name}=DIR"
        + (f" or run 'adbench data fetch {dataset.name}'" if dataset.archives else "")
    )


def fingerprint(root: Path, samples: Sequence[Sample]) -> str:
    """Sixteen hex digits over every sample's place, part, label and bytes, masks included."""
    with ThreadPoolExecutor(workers()) as pool:
        digests = pool.map(lambda sample: _digest(root, sample), samples)
        return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]


def _digest(root: Path, sample: Sample) -> str:
    content = hashlib.sha256()
    for path in (sample.image, *sample.masks):
        content.update(relative(root, path).encode())
        content.update(path.read_bytes())
    content.update(repr((sample.part, sample.label, sample.defect, sample.group)).encode())
    return content.hexdigest()


def relative(root: Path, path: Path) -> str:
    """``path`` as results name it: relative to the data root where it lies under it."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def classification(
    root: Path, samples: Sequence[Sample], seed: int, share: float = 2 / 3
) -> list[Sample]:
    """The samples with ``share`` of each defect type moved to train, whole groups at a time.

    Normal training images stay in train; every test image left is defective, since the question
    is which defect it shows.
    """

    def group(sample: Sample) -> str:
        return sample.group or relative(root, sample.image)

    kept = [sample for sample in samples if sample.part != "test" and not sample.label]
    defective = [sample for sample in samples if sample.label]
    # A group that shows several defect types counts as one of the first.
    defects = {group(s): s.defect for s in sorted(defective, key=lambda s: s.defect, reverse=True)}
    learnt: set[str] = set()
    for defect in set(defects.values()):
        drawn = sorted(
            (name for name in defects if defects[name] == defect),
            key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest(),
        )
        learnt.update(drawn[: round(share * len(drawn))])
    return kept + [
        replace(sample, part="train" if group(sample) in learnt else "test") for sample in defective
    ]


@cache
def workers() -> int:
    """Threads for decoding: the cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def decode(path: Path) -> Image:
    """The image as uint8 RGB [H, W, 3], whatever its file held; a UserError names the file."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"'{path}' cannot be decoded as an image; check the file")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def mask(sample: Sample, threshold: int, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The union of the sample's masks, bool [H, W]; None where the truth by pixel is unknown."""
    if sample.label == 0:
        return np.zeros(size, dtype=bool)
    if not sample.masks:
        return None
    union = np.zeros(size, dtype=bool)
    for path in sample.masks:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is None or grey.shape != size:
            found = "nothing readable" if grey is None else f"{grey.shape[1]} x {grey.shape[0]} px"
            raise UserError(f"mask '{path}': {found}, but its image is {size[1]} x {size[0]} px")
        union |= grey > threshold
    return union


# ---------------------------------------------------------------- geometry


def resized(spec: InputSpec, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) to which an image of ``size`` is scaled before the crop."""
    if spec.aspect == "squash" or spec.crop is None:
        return spec.resize, spec.resize
    height, width = size
    scale = spec.resize / min(height, width)
    return round(height * scale), round(width * scale)


def window(spec: InputSpec, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rectangle (top, left, bottom, right) of the image, in its px, that the input shows."""
    if spec.crop is None:
        return 0, 0, *size
    scaled = resized(spec, size)
    edges = []
    for side, whole in zip(scaled, size, strict=True):
        start = (side - spec.crop) // 2
        edges.append((round(start * whole / side), round((start + spec.crop) * whole / side)))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


def to_input(image: Image, spec: InputSpec) -> torch.Tensor:
    """The image as a model's input, uint8 [3, side, side], by antialiased bilinear resizing."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    scaled = resized(spec, image.shape[:2])
    if scaled != image.shape[:2]:
        pixels = functional.interpolate(pixels, scaled, mode="bilinear", antialias=True)
    if spec.crop is not None:
        top, left = ((side - spec.crop) // 2 for side in scaled)
        pixels = pixels[..., top : top + spec.crop, left : left + spec.crop]
    return pixels[0].contiguous()


def from_input(
    anomaly_map: NDArray[np.float32],
    spec: InputSpec,
    size: tuple[int, int],
    *,
    cropped: bool = False,
) -> NDArray[np.float32]:
    """A map over the input, brought to the image's ``size``.

    What the crop cut away scores the map's own minimum, or is left out where ``cropped``.
    """
    top, left, bottom, right = window(spec, size)
    inner = cv2.resize(anomaly_map, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    if cropped or inner.shape == size:
        return np.asarray(inner, dtype=np.float32)
    whole = np.full(size, inner.min(), dtype=np.float32)
    whole[top:bottom, left:right] = inner
    return whole


def meet(
    anomaly_map: NDArray[np.float32],
    truth: NDArray[np.bool_],
    spec: InputSpec,
    switches: Evaluation,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A map and its mask at one size: the image's own, or the suite's ``switches.size``."""
    size = truth.shape
    cropped = switches.border == "crop"
    if cropped:
        top, left, bottom, right = window(spec, size)
        truth = truth[top:bottom, left:right]
    placed: NDArray[Any] = from_input(anomaly_map, spec, size, cropped=cropped)
    if switches.size is not None:
        scale = switches.size / max(truth.shape)
        smaller = (round(truth.shape[1] * scale), round(truth.shape[0] * scale))
        placed = cv2.resize(placed, smaller, interpolation=cv2.INTER_LINEAR)
        nearest = cv2.resize(truth.view(np.uint8), smaller, interpolation=cv2.INTER_NEAREST)
        truth = nearest.view(np.bool_)
    return placed, truth


# ---------------------------------------------------------------- a bundle's images

Preprocess = Callable[[Image], Image]


@dataclass(frozen=True)
class Inputs:
    """A bundle's images as one model input: uint8 [N, 3, side, side], in the samples' order.

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
            torch.empty((len(samples), 3, spec.side, spec.side), dtype=torch.uint8),
            sizes,
            np.zeros(len(samples)),
        )
        for spec in specs
    }

    def one(place: int) -> int:
        image = decode(samples[place].image)
        sizes[place] = image.shape[:2]
        start = time.perf_counter()
        clean = checked(preprocess, image)
        shared = time.perf_counter() - start
        for spec, made in inputs.items():
            start = time.perf_counter()
            made.pixels[place] = to_input(clean, spec)
            made.seconds[place] = (shared + time.perf_counter() - start) / workers()
        return place

    def walk() -> Iterator[int]:
        with ThreadPoolExecutor(workers()) as pool:
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
    def side(self) -> int:
        """Side of the square images in px."""
        return int(self._inputs.pixels.shape[-1])

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
        self, *args: Any, validation: Images, classes: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.validation = validation
        self.classes = tuple(classes)
