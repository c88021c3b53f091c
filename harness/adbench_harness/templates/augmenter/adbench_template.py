"""An augmenter: dark blots on every second training image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Augmented, Augmenter, Batch
from pydantic import Field


class Template(Augmenter):
    """A dark disc on an image with probability ``share``."""

    name = "template"
    summary = "Dark discs at random positions."
    version = 1
    kinds = ("blot",)

    def __init__(
        self,
        *,
        share: Annotated[
            float, Field(gt=0, le=1, description="fraction of images with a blot")
        ] = 0.5,
        radius: Annotated[float, Field(gt=0, lt=0.5, description="maximum, 1 = image side")] = 0.15,
        strength: Annotated[float, Field(gt=0, le=1, description="darkness; 1 is black")] = 0.6,
    ) -> None:
        self.share = share
        self.radius = radius
        self.strength = strength

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """Images [B, 3, H, W] with their masks [B, H, W] and kinds [B]."""
        height, width = batch.images.shape[-2:]
        # Drawn on the CPU, where the generator is, so that every device gets the same blots.
        draws = torch.rand(len(batch), 4, generator=generator).to(batch.images.device)
        blotted = draws[:, 0] < self.share
        radius = draws[:, 1] * self.radius / 2 + self.radius / 2
        y = torch.arange(height, device=draws.device) / height - draws[:, 2:3]
        x = torch.arange(width, device=draws.device) / width - draws[:, 3:4]
        disc = y[:, :, None].square() + x[:, None].square() <= radius.square()[:, None, None]
        masks = disc & blotted[:, None, None]
        images = torch.where(masks[:, None], batch.images * (1 - self.strength), batch.images)
        return Augmented(images, masks, masks.any((1, 2)).long())


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    return [Template]
