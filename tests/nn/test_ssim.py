from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.autograd import gradcheck

from adbench_harness.nn.ssim import ssim, ssim_map


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(3, 2, 21, 34, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 2, 21, 34, generator=generator, dtype=torch.float64)
    return first, (first + torch.tensor([0.05, 0.3, 1.0]).view(3, 1, 1, 1) * noise).clamp(0, 1)


def test_equals_scikit_image(pair):
    expected = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(*pair, strict=True)
    ]
    assert max(expected) - min(expected) > 0.5
    np.testing.assert_allclose(ssim(*pair), expected, rtol=1e-9)


@pytest.mark.parametrize("side", [34, 11, 7])
def test_the_map_equals_scikit_image(pair, side):
    first, second = (images[..., :side] for images in pair)
    expected = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            win_size=7,  # only its own check of the size reads this
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )[1]
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ssim_map(first, second), expected, rtol=1e-9)


def test_equal_images_are_one_and_it_is_symmetric(pair):
    first, second = pair
    torch.testing.assert_close(ssim(first, first), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(ssim(first, second), ssim(second, first))


def test_the_papers_product_differs_in_the_luminance_alone():
    level = torch.full((1, 1, 11, 11), 0.5, dtype=torch.float64)
    other = torch.full_like(level, 0.25)
    ratio = (2 * 0.125 + 1e-4) / (0.25 * 0.0625 + 1e-4)
    assert float(ssim(level, other, "paper_product")) == pytest.approx(ratio)
    assert float(ssim(level, other)) == pytest.approx((0.25 + 1e-4) / (0.3125 + 1e-4))


@pytest.mark.parametrize("denominator", ["standard", "paper_product"])
def test_gradients(denominator):
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 1, 1, 12, 12, generator=generator, dtype=torch.float64)
    assert gradcheck(lambda x: ssim(x, second, denominator), first.requires_grad_())


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim(torch.rand(1, 1, 10, 30), torch.rand(1, 1, 10, 30))
