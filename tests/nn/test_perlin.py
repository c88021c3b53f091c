from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adbench_harness.nn.perlin import FINEST, perlin_noise


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def brute_force(cells, angles, size):
    """Perlin noise one pixel at a time, from the same lattice of gradients."""
    height, width = size
    noise = np.zeros(size)
    for row, column in itertools.product(range(height), range(width)):
        y, x = row * cells[0] / height, column * cells[1] / width
        top, left = int(y), int(x)
        total = 0.0
        for down, right in itertools.product((0, 1), (0, 1)):
            angle = angles[top + down, left + right]
            dy, dx = y - top - down, x - left - right
            weight = 1.0
            for way in (abs(dy), abs(dx)):
                weight *= 1 - (6 * way**5 - 15 * way**4 + 10 * way**3)
            total += weight * (dy * np.sin(angle) + dx * np.cos(angle))
        noise[row, column] = np.sqrt(2) * total
    return noise


@pytest.mark.parametrize("size", [(32, 32), (17, 40)])
def test_equals_the_definition(size):
    found = perlin_noise(4, size, draws())
    generator = draws()
    cells = 2 ** torch.randint(FINEST + 1, (4, 2), generator=generator)
    angles = 2 * torch.pi * torch.rand(4, 33, 33, generator=generator)
    assert len({tuple(c) for c in cells.tolist()}) > 1
    for noise, *drawn in zip(found, cells.numpy(), angles.numpy(), strict=True):
        np.testing.assert_allclose(noise, brute_force(*drawn, size), atol=2e-5)


@given(st.integers(1, 3), st.integers(1, 50), st.integers(1, 50), st.integers(0, 4))
def test_any_size_stays_in_range_and_repeats(count, height, width, seed):
    noise = perlin_noise(count, (height, width), draws(seed))
    assert noise.shape == (count, height, width)
    assert noise.abs().max() <= 1
    assert torch.equal(noise, perlin_noise(count, (height, width), draws(seed)))


def test_is_zero_on_the_lattice_and_smooth_between():
    noise = perlin_noise(50, (128, 128), draws())
    assert noise[:, ::4, ::4].shape == (50, 32, 32)
    on_every_lattice = noise[:, 0, 0]
    assert torch.equal(on_every_lattice, torch.zeros(50))
    assert noise.diff(dim=1).abs().max() < 0.8
    assert abs(float(noise.mean())) < 0.03
    assert noise.amax() > 0.8


def test_finest_bounds_the_cells():
    coarse = perlin_noise(200, (64, 64), draws(), finest=0)
    crossings = (coarse[:, 32].sign().diff(dim=1) != 0).sum(1)
    assert crossings.max() <= 3
    fine = perlin_noise(200, (64, 64), draws(), finest=4)
    assert (fine[:, 33].sign().diff(dim=1) != 0).sum(1).max() > 8
