"""Cut and paste: a rectangle of a normal image, recoloured and rotated, pasted somewhere else.

Li et al., "CutPaste", CVPR 2021.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.colours import recoloured
from adbench_harness.types import Augmented, Augmenter, Batch

PATCH_AREA = (0.02, 0.15)
"""Fraction of the image that a patch covers."""
PATCH_ASPECT = 3.3
"""Maximum ratio of the longer to the shorter side of a patch."""
SCAR_WIDTH, SCAR_LENGTH = (2 / 256, 16 / 256), (10 / 256, 25 / 256)
"""Sides of a scar, as fractions of the image's sides."""


class CutPaste(Augmenter):
    """Pastes a rectangle (patch) or a thin rectangle (scar) into some of the images.

    A chosen image gets one of the two, with equal probability. The piece is inside the image that
    it is cut from and, after its rotation, inside the image that it is pasted into.
    """

    name: ClassVar[str] = "cutpaste"
    summary: ClassVar[str] = "Pastes a recoloured and rotated piece of the image somewhere else."
    paper: ClassVar[str | None] = (
        "Li et al., CutPaste: Self-Supervised Learning for Anomaly Detection and Localization, "
        "CVPR 2021"
    )
    version: ClassVar[int] = 1
    younger: ClassVar[frozenset[str]] = frozenset({"turned"})
    kinds: ClassVar[tuple[str, ...]] = ("patch", "scar")

    def __init__(
        self,
        *,
        probability: Annotated[
            float, Field(ge=0, le=1, description="probability that an image gets a piece")
        ] = 0.5,
        rotation: Annotated[
            float,
            Field(ge=0, le=180, description="maximum rotation in either direction in degrees"),
        ] = 45,
        source: Annotated[
            Literal["same", "other"], "cut from the image itself, or from another of its batch"
        ] = "same",
        jitter: Annotated[
            float,
            Field(
                ge=0,
                le=0.5,
                description="maximum change of brightness, contrast, saturation and hue (turns)",
            ),
        ] = 0.1,
        turned: Annotated[
            Literal["all", "scars"], "which pieces are rotated; the paper rotates only scars"
        ] = "all",
    ) -> None:
        self.probability = probability
        self.rotation = rotation
        self.source = source
        self.jitter = jitter
        self.turned = turned

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """The batch with pasted pieces; the masks are the areas of the pieces."""
        images = batch.images
        count, _, height, width = images.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=generator)

        chosen = uniform() < self.probability
        scar = uniform() < (0.5 if "patch" in self.kinds else 1)
        kind = torch.where(chosen, 1 + scar.long(), 0).clamp(max=len(self.kinds))
        piece = torch.where(scar[:, None], scars(uniform(2)), patches(uniform(2)))
        # A rectangle at least as wide as a pixel's diagonal contains a pixel's centre.
        piece = (piece * torch.tensor([width, height])).clamp(min=1.5)
        angle = math.radians(self.rotation) * (2 * uniform() - 1)
        if self.turned == "scars":
            angle = angle * scar
        cut, pasted, colour = uniform(2), uniform(2), 2 * uniform(4) - 1
        other = torch.arange(count) + torch.randint(1, max(count, 2), (count,), generator=generator)

        rows = chosen.nonzero()[:, 0]
        origin = other[rows] % count if self.source == "other" else rows
        inside, grid = placed(piece[rows], angle[rows], cut[rows], pasted[rows], (height, width))
        rows, origin, inside, grid, colour = (
            tensor.to(images.device) for tensor in (rows, origin, inside, grid, colour[rows])
        )
        pieces = functional.grid_sample(
            images[origin], grid, padding_mode="border", align_corners=False
        )
        pieces = recoloured(pieces, inside, self.jitter * colour)
        changed, masks = images.clone(), torch.zeros_like(images[:, 0], dtype=torch.bool)
        changed[rows] = torch.where(inside[:, None], pieces, images[rows])
        masks[rows] = inside
        return Augmented(changed, masks, kind.to(images.device))


class CutPasteScar(CutPaste):
    """Pastes a scar into some of the images."""

    name: ClassVar[str] = "cutpaste-scar"
    summary: ClassVar[str] = "Pastes a thin, recoloured and rotated piece of the image elsewhere."
    default: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("scar",)


def patches(uniform: Tensor) -> Tensor:
    """Width and height of patches [B, 2], relative to the image, from uniform numbers [B, 2]."""
    low, high = PATCH_AREA
    area = low + (high - low) * uniform[:, 0]
    # Upright or lying, with equal probability.
    place = 2 * uniform[:, 1] - 1
    aspect = (1 + (PATCH_ASPECT - 1) * place.abs()) ** place.sign()
    return torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1)


def scars(uniform: Tensor) -> Tensor:
    """Width and height of scars [B, 2], relative to the image, from uniform numbers [B, 2]."""
    low, high = torch.tensor([SCAR_WIDTH, SCAR_LENGTH]).T
    return torch.lerp(low, high, uniform)


def placed(
    piece: Tensor, angle: Tensor, cut: Tensor, pasted: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The areas of pasted pieces, bool [n, H, W], and their source, a sampling grid [n, H, W, 2].

    ``piece`` [n, 2] are widths and heights in px, ``angle`` [n] is in radians. ``cut`` and
    ``pasted`` [n, 2] in [0, 1] are the positions between the borders where the upright piece is cut
    and the rotated piece is pasted.
    """
    height, width = size
    whole = torch.tensor([width, height])
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    box = piece * cosine.abs() + piece.flip(1) * sine.abs()

    def centre(extent: Tensor, place: Tensor) -> Tensor:
        free = (whole - extent).clamp(min=0)
        return (whole - free) / 2 + free * place

    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    turn = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 1, 2, 2)
    away = (pixels - centre(box, pasted)[:, None, None]) @ turn  # along the piece's own axes
    inside = (away.abs() <= piece[:, None, None] / 2).all(-1)
    return inside, 2 / whole * (centre(piece, cut)[:, None, None] + away) - 1
