"""Patch-oriented insertion of pseudo-anomalies: half of the tiles of a grid become anomalous.

Shah, Urmonov and Kim. The paper does not define the anomalies; ``source`` chooses them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from adbench_harness.nn.perlin import perlin_noise
from adbench_harness.nn.ssim import WINDOW, ssim
from adbench_harness.nn.superpixels import SEGMENTS, superpixels
from adbench_harness.nn.textures import Source, Textures, jitter
from adbench_harness.types import Augmented, Augmenter, Batch, Tools, TrainSet

Probability = Annotated[float, Field(ge=0, le=1)]
HALF_GREY_LEVEL = 0.5 / 255
CELLS = 2
"""Perlin noise of a tile has 2^U{0..2} cells along an axis."""


class PatchGrid(Augmenter):
    """Each tile of a grid over the image is independently anomalous with the same probability.

    If the image's side is not a multiple of the tile's, the border cuts the last tiles of a row or
    column. Masks mark the pixels that changed in any channel by half a grey level or more.
    """

    name: ClassVar[str] = "patchgrid"
    summary: ClassVar[str] = "Adds pseudo-anomalies to half of the tiles of a grid over the image."
    paper: ClassVar[str | None] = "Shah, Urmonov, Kim, patch-oriented pseudo-anomaly insertion"
    version: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("self", "perlin", "superpixel")

    def __init__(
        self,
        *,
        source: Annotated[
            Literal["self", "perlin", "superpixel"],
            "a warped tile of the image, or a texture within Perlin noise or superpixels",
        ] = "self",
        sizes: Annotated[
            tuple[Annotated[int, Field(ge=WINDOW)], ...],
            Field(min_length=1, description="sides of a tile in px; one is drawn for each image"),
        ] = (16, 32, 64),
        p_patch: Annotated[Probability, "probability that a tile is anomalous"] = 0.5,
        p_image: Annotated[Probability, "probability that an image has anomalous tiles"] = 1.0,
        fill: Annotated[
            Literal["blob", "full"], "an anomaly has its own outline, or fills its tile"
        ] = "blob",
        similarity: Annotated[
            float, Field(le=1, description="SSIM from which a warped tile is discarded")
        ] = 0.75,
        p_colour: Annotated[Probability, "probability that a warped tile changes colours"] = 0.5,
        textures: Annotated[Source, "source of the textures, unless source is self"] = (
            "procedural"
        ),
    ) -> None:
        self.source = source
        self.sizes = sizes
        self.p_patch = p_patch
        self.p_image = p_image
        self.fill = fill
        self.similarity = similarity
        self.p_colour = p_colour
        self.textures = textures
        self.auxiliary = ("dtd",) if source != "self" and textures == "dtd" else ()

    def fit(self, train: TrainSet, tools: Tools) -> PatchGrid:
        """Make the pool of textures, and their superpixels, if ``source`` needs them."""
        if self.source != "self":
            self.pool = Textures(self.textures, train, tools)
        if self.source == "superpixel":
            counts = torch.randint(len(SEGMENTS), (len(self.pool),), generator=tools.generator)
            self.labels = superpixels(self.pool.pixels, [SEGMENTS[i] for i in counts])
            self.segments = int(self.labels.max()) + 1
        return self

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """The batch with anomalous tiles, all of one size within an image."""
        count = len(batch)
        images = batch.images.clone()
        insert = self._warp if self.source == "self" else self._paste
        drawn = torch.randint(len(self.sizes), (count,), generator=generator)
        mixed = torch.rand(count, generator=generator) < self.p_image
        for number, size in enumerate(self.sizes):
            chosen = ((drawn == number) & mixed).nonzero()[:, 0]
            tiles = split(images[chosen], size)
            anomalous = torch.rand(tiles.shape[:2], generator=generator) < self.p_patch
            if anomalous.any():
                image, place = anomalous.nonzero(as_tuple=True)
                tiles[image, place] = insert(tiles, image, place, generator)
                images[chosen] = join(tiles, *images.shape[2:])
        masks = ((images - batch.images).abs() >= HALF_GREY_LEVEL).any(1)
        images = torch.where(masks[:, None], images, batch.images)
        kind = masks.flatten(1).any(1) * (1 + self.kinds.index(self.source))
        return Augmented(images, masks, kind)

    def _warp(
        self, tiles: Tensor, image: Tensor, place: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The tiles at ``place`` of ``image``, covered by themselves or another tile, warped."""
        count = len(image)
        other = torch.randint(tiles.shape[1], (count,), generator=generator)
        own = torch.rand(count, generator=generator) < 0.5
        warp = random_affine(count, generator).to(tiles.device)
        gamma = torch.exp2(2 * torch.rand(count, 3, 1, 1, generator=generator) - 1)
        recoloured = torch.rand(count, 1, 1, 1, generator=generator) < self.p_colour
        gamma = torch.where(recoloured, gamma, 1).to(tiles.device)

        normal = tiles[image, place]
        source = tiles[image, torch.where(own, place, other)]
        grid = functional.affine_grid(warp, list(normal.shape), align_corners=False)
        patches = functional.grid_sample(
            source, grid, padding_mode="reflection", align_corners=False
        )
        blob = torch.ones_like(patches[:, :1], dtype=torch.bool)
        if self.fill == "blob":
            blob = (grid.abs() <= 1).all(-1)[:, None]
        alike = ssim(torch.where(blob, patches, normal), normal) >= self.similarity
        return torch.where(blob & ~alike[:, None, None, None], patches.clamp(0, 1) ** gamma, normal)

    def _paste(
        self, tiles: Tensor, image: Tensor, place: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The tiles at ``place`` of ``image``, each covered by a tile of a texture."""
        count, size, device = len(image), tiles.shape[-1], tiles.device
        pixels, chosen = self.pool.draw(len(tiles), generator, device)
        textures = split(jitter(pixels, generator), size)
        origin = torch.randint(len(textures), (count,), generator=generator)
        piece = torch.randint(textures.shape[1], (count,), generator=generator)
        share = 0.25 + 0.5 * torch.rand(count, generator=generator).to(device)
        if self.source == "perlin":
            field = perlin_noise(count, (size, size), generator, device, finest=CELLS)
            opacity = 1 - 0.8 * torch.rand(count, 1, 1, 1, generator=generator).to(device)
        else:
            labels = self.labels[chosen].to(device).long()
            ranks = torch.rand(len(labels), self.segments, generator=generator).to(device)
            field = ranks.gather(1, labels.flatten(1)).view_as(labels)
            field = split(field[:, None], size)[origin, piece, 0]
            opacity = torch.ones(count, 1, 1, 1, device=device)
        normal = tiles[image, place]
        patches = torch.lerp(normal, textures[origin, piece], opacity)
        if self.fill == "full":
            return patches
        return torch.where(highest(field, share)[:, None], patches, normal)


def random_affine(count: int, generator: torch.Generator) -> Tensor:
    """Affine maps [count, 2, 3] that move three random points of [-1, 1]^2 to three others.

    The three points lie towards three different corners, so that no triangle is flat.
    """
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]])

    def triangles() -> Tensor:
        order = torch.rand(count, 4, generator=generator).argsort(1)[:, :3]
        return corners[order] * (0.4 + 0.6 * torch.rand(count, 3, 2, generator=generator))

    points = torch.cat([triangles(), torch.ones(count, 3, 1)], 2)
    maps: Tensor = torch.linalg.solve(points, triangles())
    return maps.transpose(1, 2)


def highest(field: Tensor, share: Tensor) -> Tensor:
    """The highest ``share`` [N] of the pixels of each field [N, h, w], bool [N, h, w].

    Pixels that tie with the lowest of them are included.
    """
    values = field.flatten(1).sort(1, descending=True).values
    last = (share * values.shape[1]).ceil().long().clamp(1, values.shape[1]) - 1
    taken: Tensor = field >= values.gather(1, last[:, None])[:, :, None]
    return taken


# ---------------------------------------------------------------- tiles


def split(images: Tensor, size: int) -> Tensor:
    """Images [B, C, H, W] as tiles [B, T, C, size, size], row by row.

    An image whose sides are not multiples of ``size`` is mirrored beyond its border.
    """
    for axis in (2, 3):
        side = images.shape[axis]
        if side % size:
            reached = torch.arange(-(-side // size) * size, device=images.device) % (2 * side)
            images = images.index_select(axis, torch.minimum(reached, 2 * side - 1 - reached))
    count, channels, height, width = images.shape
    tiles = images.view(count, channels, height // size, size, width // size, size)
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join(tiles: Tensor, height: int, width: int) -> Tensor:
    """The images [B, C, ``height``, ``width``] that ``split`` divided into ``tiles``."""
    count, _, channels, size, _ = tiles.shape
    rows = -(-height // size)
    grid = tiles.view(count, rows, -1, channels, size, size).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(count, channels, rows * size, -1)[:, :, :height, :width]
