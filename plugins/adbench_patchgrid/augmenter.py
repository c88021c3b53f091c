"""Patch-oriented insertion of pseudo-anomalies: half of the tiles of a grid become anomalous.

Shah, Urmonov and Kim. The paper leaves open what an anomaly is; ``source`` chooses it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.perlin import perlin_noise
from adbench_harness.nn.ssim import WINDOW, ssim
from adbench_harness.nn.textures import jitter
from adbench_harness.types import Augmented, Batch

Probability = Annotated[float, Field(ge=0, le=1)]
HALF_GREY_LEVEL = 0.5 / 255


class PatchGrid:
    """Each tile of a grid over the image is anomalous with the same probability, on its own.

    The last tiles of a row or column are cut by the image's border where its side is no multiple
    of theirs. Masks hold the pixels that changed, in any channel by half a grey level or more.
    """

    name: ClassVar[str] = "patchgrid"
    summary: ClassVar[str] = "Pseudo-anomalies in half of the tiles of a grid over the image."
    paper: ClassVar[str | None] = "Shah, Urmonov, Kim, patch-oriented pseudo-anomaly insertion"
    version: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("self", "perlin", "superpixel")

    def __init__(
        self,
        *,
        sizes: Annotated[
            tuple[Annotated[int, Field(ge=WINDOW)], ...],
            Field(min_length=1, description="sides of a tile in px; an image has tiles of one"),
        ] = (16, 32, 64),
        p_patch: Annotated[Probability, "of a tile to be anomalous"] = 0.5,
        p_image: Annotated[Probability, "of an image to have anomalous tiles at all"] = 1.0,
        fill: Annotated[
            Literal["blob", "full"], "an anomaly has an outline of its own, or its tile's"
        ] = "blob",
        similarity: Annotated[
            float, Field(le=1, description="SSIM from which a warped tile is taken back")
        ] = 0.75,
        p_colour: Annotated[Probability, "of a warped tile to change its colours"] = 0.5,
    ) -> None:
        self.sizes = sizes
        self.p_patch = p_patch
        self.p_image = p_image
        self.fill = fill
        self.similarity = similarity
        self.p_colour = p_colour

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """The batch with anomalous tiles, all of one size within an image."""
        count, device = len(batch), batch.images.device
        images = batch.images.clone()
        drawn = torch.randint(len(self.sizes), (count,), generator=generator)
        mixed = torch.rand(count, generator=generator) < self.p_image
        for number, size in enumerate(self.sizes):
            chosen = ((drawn == number) & mixed).nonzero()[:, 0].to(device)
            tiles = split(images[chosen], size)
            anomalous = torch.rand(tiles.shape[:2], generator=generator) < self.p_patch
            image, place = anomalous.nonzero(as_tuple=True)
            tiles[image, place] = self._warped(tiles, image, place, generator)
            images[chosen] = join(tiles, images.shape[-2:])
        masks = ((images - batch.images).abs() >= HALF_GREY_LEVEL).any(1)
        images = torch.where(masks[:, None], images.clamp(0, 1), batch.images)
        return Augmented(images, masks, masks.flatten(1).any(1).long())

    def _warped(
        self, tiles: Tensor, image: Tensor, place: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The tiles at ``place`` of ``image`` below themselves or another of its tiles, warped."""
        count = len(image)
        other = torch.randint(tiles.shape[1], (count,), generator=generator)
        own = torch.rand(count, generator=generator) < 0.5
        warp = random_affine(count, generator).to(tiles.device)
        recoloured = torch.rand(count, generator=generator) < self.p_colour

        normal = tiles[image, place]
        grid = functional.affine_grid(warp, list(normal.shape), align_corners=False)
        patches = functional.grid_sample(
            tiles[image, torch.where(own, place, other)],
            grid,
            padding_mode="reflection",
            align_corners=False,
        )
        outline = (grid.abs() <= 1).all(-1) if self.fill == "blob" else torch.ones_like()
        patches = torch.where(outline[:, None], patches, normal)
        changed = ssim(patches, normal) < self.similarity
        return patches


def random_affine(count: int, generator: torch.Generator) -> Tensor:
    """Affine maps [count, 2, 3] that take three random points of [-1, 1]^2 to three others.

    Each point lies towards another corner, so that a triangle is never flat.
    """
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]])

    def triangles() -> Tensor:
        order = torch.rand(count, 4, generator=generator).argsort(1)[:, :3]
        return corners[order] * (0.4 + 0.6 * torch.rand(count, 3, 2, generator=generator))

    points = torch.cat([triangles(), torch.ones(count, 3, 1)], 2)
    return torch.linalg.solve(points, triangles()).transpose(1, 2)


# ---------------------------------------------------------------- tiles


def split(images: Tensor, size: int) -> Tensor:
    """Images [B, C, H, W] as tiles [B, T, C, size, size], row by row.

    Images whose sides are no multiple of ``size`` are mirrored beyond their border.
    """
    for axis in (2, 3):
        side = images.shape[axis]
        reached = torch.arange(-(-side // size) * size, device=images.device) % (2 * side)
        images = images.index_select(axis, torch.minimum(reached, 2 * side - 1 - reached))
    tiles = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # B, C, rows, size, cols, size
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join(tiles: Tensor, size: tuple[int, int]) -> Tensor:
    """The images [B, C, H, W] of ``size`` (H, W) that ``split`` cut into ``tiles``."""
    height, width = size
    rows = -(-height // tiles.shape[-1])
    grid = tiles.unflatten(1, (rows, -1)).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4).flatten(2, 3)[:, :, :height, :width]
