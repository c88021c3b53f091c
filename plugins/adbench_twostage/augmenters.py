"""Pseudo-anomalies: textures within Perlin noise, or within their own superpixels.

Shah and Kim, 2022; what the paper leaves open follows the authors' code.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from adbench_harness.nn.perlin import perlin_noise
from adbench_harness.nn.superpixels import SEGMENTS, superpixels
from adbench_harness.nn.textures import Source, Textures, jitter
from adbench_harness.types import Augmented, Augmenter, Batch, Tools, TrainSet

SHARE = 0.1
"""Fraction of the superpixels that are drawn; a superpixel may be drawn twice."""


class _TextureAnomalies(Augmenter):
    """A texture with jittered colours in a mask of one of ``kinds``, drawn for each image."""

    paper: ClassVar[str | None] = (
        "Shah, Kim, two-stage segmentation of Perlin and superpixel pseudo-anomalies, 2022"
    )
    version: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        source: Annotated[
            Source, "textures: noise and stripes, pieces of training images, or the data set DTD"
        ] = "procedural",
        p_clean: Annotated[
            float, Field(ge=0, le=1, description="probability that an image stays unchanged")
        ] = 0.5,
    ) -> None:
        self.source = source
        self.p_clean = p_clean
        self.auxiliary = ("dtd",) if source == "dtd" else ()

    def fit(self, train: TrainSet, tools: Tools) -> _TextureAnomalies:
        """Make the pool of textures and, if they are needed, each texture's superpixels."""
        self.textures = Textures(self.source, train, tools)
        if "superpixel" in self.kinds:
            drawn = torch.randint(len(SEGMENTS), (len(self.textures),), generator=tools.generator)
            self.labels = superpixels(self.textures.pixels, [SEGMENTS[i] for i in drawn])
            self.counts = self.labels.flatten(1).amax(1).long() + 1
        return self

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """The batch with pseudo-anomalies; an image with an empty mask is clean."""
        images = batch.images
        count, device = len(batch), images.device
        clean = torch.rand(count, generator=generator) < self.p_clean
        kind = torch.randint(len(self.kinds), (count,), generator=generator)
        sources, places = self.textures.draw(count, generator, device)
        sources = jitter(sources, generator)
        masks = torch.zeros(count, *images.shape[2:], dtype=torch.bool, device=device)
        opacity = torch.ones(count)
        for number, name in enumerate(self.kinds):
            chosen = (kind == number).nonzero()[:, 0]
            if name == "perlin":
                masks[chosen] = _perlin_masks(len(chosen), images, generator)
                opacity[chosen] = 1 - 0.8 * torch.rand(len(chosen), generator=generator)
            else:
                labels, counts = self.labels[places[chosen]], self.counts[places[chosen]]
                turned, labels = _turned(sources[chosen], labels.to(device), generator)
                sources[chosen] = turned
                masks[chosen] = _some_superpixels(labels, counts, generator)
        masks &= ~clean.to(device)[:, None, None]
        blended = torch.lerp(images, sources, opacity.to(device)[:, None, None, None])
        kind = torch.where(masks.flatten(1).any(1), 1 + kind.to(device), 0)
        return Augmented(torch.where(masks[:, None], blended, images), masks, kind)


class Perlin(_TextureAnomalies):
    """A texture is blended in where Perlin noise is above a threshold drawn from U(0, 1)."""

    name: ClassVar[str] = "perlin"
    summary: ClassVar[str] = "Blends in textures where Perlin noise is high."
    kinds: ClassVar[tuple[str, ...]] = ("perlin",)


class Superpixel(_TextureAnomalies):
    """A tenth of a texture's superpixels are pasted opaquely."""

    name: ClassVar[str] = "superpixel"
    summary: ClassVar[str] = "Pastes in superpixels of textures."
    kinds: ClassVar[tuple[str, ...]] = ("superpixel",)


class PerlinSuperpixel(_TextureAnomalies):
    """``perlin`` or ``superpixel``, each with the same probability, as in the authors' code."""

    name: ClassVar[str] = "perlin-superpixel"
    summary: ClassVar[str] = "Adds Perlin or superpixel anomalies, one of them to each image."
    default: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("perlin", "superpixel")


def _perlin_masks(count: int, images: Tensor, generator: torch.Generator) -> Tensor:
    """Bool [count, H, W]; a mask is empty if its threshold is above the noise."""
    size = (images.shape[2], images.shape[3])
    noise = perlin_noise(count, size, generator, images.device)
    return noise > torch.rand(count, 1, 1, generator=generator).to(images.device)


def _turned(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [B, 3, S, S] and labels [B, S, S], unchanged, rotated clockwise, or flipped."""
    drawn = torch.randint(3, (len(images),), generator=generator)
    images, labels = images.clone(), labels.clone()
    for number, quarters in ((1, -1), (2, 2)):
        chosen = (drawn == number).nonzero()[:, 0]
        images[chosen] = images[chosen].rot90(quarters, (2, 3))
        labels[chosen] = labels[chosen].rot90(quarters, (1, 2))
    return images, labels


def _some_superpixels(labels: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """The area of ``SHARE`` of the ``counts`` [B] superpixels in ``labels`` [B, H, W], bool."""
    if not len(labels):
        return labels.bool()
    picks = (SHARE * counts).long()
    drawn = torch.rand(len(labels), int(picks.max()), generator=generator) * counts[:, None]
    needed = torch.arange(drawn.shape[1]) < picks[:, None]
    chosen = torch.zeros(len(labels), int(counts.max()))
    chosen.scatter_reduce_(1, drawn.long(), needed.float(), "amax")
    found = chosen.to(labels.device).gather(1, labels.flatten(1).long())
    return found.view_as(labels) > 0
