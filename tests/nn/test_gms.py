from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, median_filter
from torch.autograd import gradcheck

from adbench_harness.nn.gms import gms, msgms, msgms_map

PREWITT = np.array([[1, 0, -1]] * 3) / 3


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(first, second):
    """GMS [H, W] of images [C, H, W]."""

    def magnitude(image):
        grey = median_filter(image.mean(0), 3, mode="nearest")
        x, y = (convolve(grey, kernel, mode="nearest") for kernel in (PREWITT, PREWITT.T))
        return np.sqrt(x**2 + y**2)

    a, b = magnitude(first.numpy()), magnitude(second.numpy())
    return (2 * a * b + 0.0026) / (a**2 + b**2 + 0.0026)


@pytest.fixture
def pair():
    return drawn(3, 2, 21, 34), drawn(3, 2, 21, 34, seed=1)


def test_equals_a_plain_reference(pair):
    expected = [reference(a, b) for a, b in zip(*pair, strict=True)]
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(gms(*pair), expected, atol=1e-6)


def test_scales_halve_the_images(pair):
    halved = [images[:, :, :20].unflatten(3, (17, 2)).mean(4) for images in pair]
    halved = [images.unflatten(2, (10, 2)).mean(3) for images in halved]
    expected = (gms(*pair).mean((1, 2)) + gms(*halved).mean((1, 2))) / 2
    torch.testing.assert_close(msgms(*pair, scales=2), expected)
    torch.testing.assert_close(msgms_map(*pair, scales=1), gms(*pair))
    large = torch.nn.functional.interpolate(gms(*halved)[:, None], (21, 34), mode="bilinear")
    torch.testing.assert_close(msgms_map(*pair, scales=2), (gms(*pair) + large[:, 0]) / 2)


def test_equal_images_are_one_and_it_is_symmetric(pair):
    first, second = pair
    torch.testing.assert_close(msgms(first, first), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(msgms_map(first, second), msgms_map(second, first))


def test_a_brighter_image_is_equal_and_a_blurred_one_is_not(pair):
    first, _ = pair
    torch.testing.assert_close(gms(first, first + 0.3), torch.ones_like(first[:, 0]))
    blurred = torch.nn.functional.avg_pool2d(first, 5, stride=1, padding=2)
    assert gms(first, blurred).mean() < 0.8


def test_gradients():
    first, second = drawn(2, 1, 2, 9, 8)
    assert gradcheck(lambda x: msgms(x, second, 2), first.requires_grad_())


def test_the_gradient_of_flat_images_is_finite():
    first, second = torch.full((1, 3, 8, 8), 0.5, requires_grad=True), torch.rand(1, 3, 8, 8)
    msgms(first, second).sum().backward()
    assert first.grad.isfinite().all()


def test_an_image_that_is_too_small_for_the_scales_is_refused():
    with pytest.raises(ValueError, match=r"4 scales need images of at least 8 px"):
        msgms(torch.rand(1, 1, 7, 30), torch.rand(1, 1, 7, 30))
