"""Tiles of a set of images, as a training set of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from adbench_harness.nn.tiles import random_crops
from adbench_harness.types import Batch, ImageSet, Model, Outputs, TrainSet

_IMAGES = 4
"""Whole images in memory at once."""
_BATCH = 16


@dataclass(frozen=True)
class Tiles:
    """``count`` tiles of ``size`` (h, w) px of each image; implements ``ImageSet``.

    Their places are drawn from the images' seeds, so they are the same in each iteration. A
    generator shuffles the images, and the tiles of a few images among each other.
    """

    images: ImageSet
    size: tuple[int, int]
    count: int

    def __len__(self) -> int:
        return len(self.images) * self.count

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches of ``size`` tiles; the last one may be smaller."""
        wanted, rest = size or _BATCH, None
        for batch in self.images.batches(_IMAGES, generator):
            made = self._cut(batch)
            if generator is not None:
                made = _taken(made, torch.randperm(len(made), generator=generator))
            made = made if rest is None else _joined(rest, made)
            whole = len(made) // wanted * wanted
            for start in range(0, whole, wanted):
                yield _taken(made, torch.arange(start, start + wanted))
            rest = _taken(made, torch.arange(whole, len(made))) if whole < len(made) else None
        if rest is not None:
            yield rest

    def _cut(self, batch: Batch) -> Batch:
        """The tiles of a batch, those of an image behind each other."""
        parts = []
        for i, seed in enumerate(batch.seeds.tolist()):
            image = batch.images[i : i + 1].expand(self.count, -1, -1, -1)
            parts.append(random_crops(image, self.size, torch.Generator().manual_seed(seed)))
        places = torch.arange(self.count, device=batch.seeds.device)
        seeds = seeds_of(batch.seeds[:, None], places)
        repeated = torch.arange(len(batch)).repeat_interleave(self.count)
        return replace(
            _taken(batch, repeated), images=torch.cat(parts), seeds=seeds.flatten(), handles=None
        )


class TrainTiles(Tiles):
    """Tiles of the training images, with those of the held-out images; implements ``TrainSet``."""

    images: TrainSet

    @property
    def validation(self) -> Tiles:
        """The tiles of the held-out normal images."""
        return Tiles(self.images.validation, self.size, self.count)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, if the protocol shows them."""
        return self.images.classes

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of the images' categories."""
        return self.images.categories


@dataclass(frozen=True)
class TileOutputs:
    """A fitted model's outputs for tiles; implements ``TrainOutputs``."""

    model: Model
    tiles: TrainTiles

    def __iter__(self) -> Iterator[Outputs]:
        return self._of(self.tiles)

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def validation(self) -> Iterator[Outputs]:
        """The outputs for tiles of the held-out normal images."""
        return self._of(self.tiles.validation)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, if the protocol shows them."""
        return self.tiles.classes

    def _of(self, tiles: Tiles) -> Iterator[Outputs]:
        for batch in tiles.batches():
            with torch.no_grad():
                yield self.model.predict(batch)


def seeds_of(seeds: torch.Tensor, number: torch.Tensor | int) -> torch.Tensor:
    """The seeds of the tiles with a ``number`` of images with ``seeds``, int64 from 0."""
    return (seeds * 1_000_003 + number) & (2**63 - 1)  # a product that is too large wraps


def _taken(batch: Batch, rows: torch.Tensor) -> Batch:
    """The images at ``rows`` of a batch."""
    chosen = rows.tolist()
    return replace(
        batch,
        images=batch.images[rows.to(batch.images.device)],
        seeds=batch.seeds[rows.to(batch.seeds.device)],
        handles=None,
        categories=tuple(batch.categories[i] for i in chosen) if batch.categories else (),
    )


def _joined(first: Batch, second: Batch) -> Batch:
    return replace(
        first,
        images=torch.cat([first.images, second.images]),
        seeds=torch.cat([first.seeds, second.seeds]),
        categories=(*first.categories, *second.categories),
    )
