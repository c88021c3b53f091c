from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter

from adbench_harness.nn.maps import gaussian_blur, mean_filter, upsample


@settings(deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    sigma=st.floats(0.05, 12),
    seed=st.integers(0, 2**31),
)
def test_blur_equals_scipy(height: int, width: int, sigma: float, seed: int) -> None:
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed))
    blurred = gaussian_blur(maps, sigma)
    expected = np.stack([gaussian_filter(each, sigma) for each in maps.double().numpy()])
    assert blurred.shape == maps.shape
    assert blurred.dtype == torch.float32
    np.testing.assert_allclose(blurred.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_blur_keeps_a_constant_map_and_the_input() -> None:
    maps = torch.full((1, 9, 5), 3.0)
    torch.testing.assert_close(gaussian_blur(maps, 4), maps)
    impulse = torch.zeros(1, 9, 9)
    impulse[0, 4, 4] = 1
    gaussian_blur(impulse, 1)
    assert impulse.sum() == 1


def test_no_blur_leaves_maps_unchanged() -> None:
    maps = torch.rand(2, 4, 4)
    assert torch.equal(gaussian_blur(maps, 0), maps)


def test_refuses_a_negative_sigma() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        gaussian_blur(torch.zeros(1, 4, 4), -1)


def test_upsample_aligns_pixel_centres() -> None:
    maps = torch.tensor([[[0.0, 1.0]]])
    expected = torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 3, 4)
    torch.testing.assert_close(upsample(maps, (3, 4)), expected)


def test_the_mean_filter_takes_the_pixels_that_are_inside() -> None:
    maps = torch.rand(2, 12, 9, generator=torch.Generator().manual_seed(0))
    ones = uniform_filter(np.ones((12, 9)), 5, mode="constant")
    for found, each in zip(mean_filter(maps, 5), maps.double().numpy(), strict=True):
        np.testing.assert_allclose(
            found, uniform_filter(each, 5, mode="constant") / ones, rtol=1e-5
        )
    assert torch.equal(mean_filter(maps, 1), maps)
    means = maps.mean((1, 2), keepdim=True).expand_as(maps)
    torch.testing.assert_close(mean_filter(maps, 25), means)


@pytest.mark.parametrize("side", [0, 4, -3])
def test_a_mean_filter_has_an_odd_side(side: int) -> None:
    with pytest.raises(ValueError, match=f"must be odd, not {side}"):
        mean_filter(torch.rand(1, 4, 4), side)
