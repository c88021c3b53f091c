"""Images a second that augmenters make of a batch of 32 at 256 px, in ``extra_info``.

The peer draws the same grid one tile at a time, as published augmenters do.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import structural_similarity

from adbench_harness.errors import UserError
from adbench_harness.planning import parameters, plugins
from adbench_harness.planning.grammar import component
from adbench_harness.testing.fitting import tools, train
from adbench_harness.types import Batch, overrides

COUNT, SIDE = 32, 256
AUGMENTERS = {
    "patchgrid:source=self": "patchgrid",
    "patchgrid:source=perlin": "patchgrid",
    "patchgrid:source=superpixel": "patchgrid",
    "perlin": "twostage",
    "superpixel": "twostage",
    "cutpaste": "cutpaste",
    "perlin-draem": "draem",
}


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Crops of a photograph of bricks."""
    photograph = torch.from_numpy(skimage.data.brick()).expand(3, -1, -1).float() / 255
    corners = torch.randint(512 - SIDE, (COUNT, 2), generator=torch.Generator().manual_seed(0))
    images = [photograph[:, y : y + SIDE, x : x + SIDE] for y, x in corners.tolist()]
    return Batch(torch.stack(images), torch.arange(COUNT), handles=tuple(range(COUNT)))


@pytest.mark.benchmark(group="augment 32 images of 256 px")
@pytest.mark.parametrize("name", AUGMENTERS)
def test_augment(benchmark: Any, batch: Batch, name: str) -> None:
    try:
        catalogue = plugins.load([AUGMENTERS[name]])
        choice = parameters.resolve(catalogue, "augmenter", component(name))
    except UserError as reason:
        pytest.skip(str(reason))
    augmenter = parameters.build(catalogue, "augmenter", choice)
    if overrides(augmenter, "fit"):
        augmenter.fit(train(batch.images), tools(None, SIDE))
    generator = torch.Generator().manual_seed(0)
    result = benchmark(lambda: augmenter.augment(batch, generator))
    benchmark.extra_info["images/s"] = round(COUNT / benchmark.stats.stats.min, 1)
    assert result.masks.any()


@pytest.mark.benchmark(group="augment 32 images of 256 px")
def test_peer_one_tile_at_a_time(benchmark: Any, batch: Batch) -> None:
    """Self-patches by OpenCV's warp and scikit-image's SSIM."""
    images = (batch.images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    draw = np.random.default_rng(0)

    def anomalous(image: np.ndarray) -> np.ndarray:
        made, size = image.copy(), draw.choice([16, 32, 64])
        places = [(y, x) for y in range(0, SIDE, size) for x in range(0, SIDE, size)]
        for y, x in places:
            if draw.random() < 0.5:
                top, left = (y, x) if draw.random() < 0.5 else places[draw.integers(len(places))]
                points = draw.random((2, 3, 2), dtype=np.float32) * np.float32(size)
                warp = cv2.getAffineTransform(points[0], points[1])
                patch = image[top : top + size, left : left + size]
                patch = cv2.warpAffine(patch, warp, (int(size), int(size)))
                tile = image[y : y + size, x : x + size]
                under = np.where(patch > 0, tile, 0)
                if (
                    structural_similarity(patch, under, channel_axis=2, gaussian_weights=True)
                    < 0.75
                ):
                    made[y : y + size, x : x + size] = np.where(patch > 0, patch, tile)
        return made

    made = benchmark(lambda: [anomalous(image) for image in images])
    benchmark.extra_info["images/s"] = round(COUNT / benchmark.stats.stats.min, 1)
    assert not np.array_equal(made, images)
