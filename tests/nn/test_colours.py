from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from adbench_harness.nn.colours import recoloured


def test_recolouring_is_brightness_saturation_hue_contrast():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.3, 0.6, (4, 3, 6, 7))
    inside = rng.random((4, 6, 7)) < 0.5
    change = rng.uniform(-0.2, 0.2, (4, 4))
    expected = []
    for image, mask, (brightness, contrast, saturation, hue) in zip(
        images, inside, change, strict=True
    ):
        pixels = image.reshape(3, -1).T * (1 + brightness)
        grey = pixels.mean(1, keepdims=True)
        turn = Rotation.from_rotvec(2 * np.pi * hue * np.ones(3) / np.sqrt(3))
        pixels = grey + (1 + saturation) * turn.apply(pixels - grey)
        mean = grey[mask.ravel()].mean()
        pixels = mean + (1 + contrast) * (pixels - mean)
        expected.append(pixels.clip(0, 1).T.reshape(image.shape))
    found = recoloured(
        torch.tensor(images).float(), torch.tensor(inside), torch.tensor(change).float()
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_third_of_a_turn_of_hue_swaps_the_channels():
    images = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    change = torch.tensor([[0, 0, 0, 1 / 3]])
    found = recoloured(images, torch.ones(1, 4, 4, dtype=torch.bool), change)
    torch.testing.assert_close(found, images.roll(1, 1))
