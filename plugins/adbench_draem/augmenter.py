"""DRAEM's pseudo-anomalies: recoloured textures within rotated Perlin noise.

Zavrtanik, Kristan, Skočaj, "DRÆM: A Discriminatively Trained Reconstruction Embedding for Surface
Anomaly Detection", ICCV 2021, and the authors' code.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from adbench_draem.operations import OPERATIONS
from adbench_harness.nn.perlin import perlin_noise
from adbench_harness.nn.rotation import rotated
from adbench_harness.nn.textures import Source, Textures, jitter
from adbench_harness.types import Augmented, Augmenter, Batch, Tools, TrainSet


class PerlinDRAEM(Augmenter):
    """A texture is blended in where Perlin noise, rotated by up to 90 degrees, is above 0.5.

    Its opacity is drawn from U(0.2, 1), and its colours are changed by three of ten operations.
    """

    name: ClassVar[str] = "perlin-draem"
    summary: ClassVar[str] = "Blends in textures where rotated Perlin noise exceeds a threshold."
    paper: ClassVar[str | None] = (
        "Zavrtanik, Kristan, Skočaj, DRÆM: A Discriminatively Trained Reconstruction Embedding for "
        "Surface Anomaly Detection, ICCV 2021"
    )
    version: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("perlin",)

    def __init__(
        self,
        *,
        source: Annotated[
            Source, "textures: noise and stripes, pieces of training images, or the data set DTD"
        ] = "procedural",
        p_clean: Annotated[
            float, Field(ge=0, le=1, description="probability that an image stays unchanged")
        ] = 0.5,
        threshold: Annotated[
            float, Field(ge=-1, le=1, description="noise above it is anomalous")
        ] = 0.5,
    ) -> None:
        self.source = source
        self.p_clean = p_clean
        self.threshold = threshold
        self.auxiliary = ("dtd",) if source == "dtd" else ()

    def fit(self, train: TrainSet, tools: Tools) -> PerlinDRAEM:
        """Make the pool of textures."""
        self.textures = Textures(self.source, train, tools)
        return self

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """The batch with pseudo-anomalies; an image with an empty mask is clean."""
        images = batch.images
        count, device = len(batch), images.device
        clean = torch.rand(count, generator=generator) < self.p_clean
        size = (images.shape[2], images.shape[3])
        noise = perlin_noise(count, size, generator, device)
        degrees = 180 * torch.rand(count, generator=generator) - 90
        masks = rotated(noise[:, None], degrees)[:, 0] > self.threshold
        masks &= ~clean.to(device)[:, None, None]
        textures, _ = self.textures.draw(count, generator, device)
        textures = jitter(textures, generator, OPERATIONS)
        opacity = 1 - 0.8 * torch.rand(count, generator=generator)
        blended = torch.lerp(images, textures, opacity.to(device)[:, None, None, None])
        changed = torch.where(masks[:, None], blended, images)
        return Augmented(changed, masks, masks.flatten(1).any(1).long())
