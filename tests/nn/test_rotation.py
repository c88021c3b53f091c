from __future__ import annotations

import pytest
import torch

from adbench_harness.nn.rotation import rotated


@pytest.fixture
def images():
    return torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def test_right_angles_are_exact(images):
    turned = rotated(images, torch.tensor([0.0, 90.0, -180.0]))
    for image, quarters, found in zip(images, (0, 1, 2), turned, strict=True):
        torch.testing.assert_close(found, image.rot90(quarters, (1, 2)), atol=1e-5, rtol=0)


def test_lengths_of_a_rectangle_are_kept():
    """A bar across a wide image, rotated by a quarter, is a bar from top to bottom.

    Its mirror images are 20 px away.
    """
    images = torch.zeros(1, 1, 20, 60)
    images[:, :, 8:12] = 1
    (turned,) = rotated(images, torch.tensor([90.0]))[0]
    expected = torch.zeros(20, 20)
    expected[:, 8:12] = 1
    torch.testing.assert_close(turned[:, 20:40], expected, atol=1e-4, rtol=0)


def test_a_rotation_can_be_undone_in_the_middle():
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64) ** 2
    back = rotated(rotated(ramp, torch.tensor([30.0])), torch.tensor([-30.0]))
    torch.testing.assert_close(back[..., 20:44, 20:44], ramp[..., 20:44, 20:44], atol=1e-3, rtol=0)
    assert not torch.allclose(rotated(ramp, torch.tensor([30.0])), ramp, atol=0.05)


def test_corners_are_filled_with_the_image():
    images = torch.full((1, 3, 16, 24), 0.4)
    torch.testing.assert_close(rotated(images, torch.tensor([37.0])), images)
