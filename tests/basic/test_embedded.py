"""The embedded backbone: shapes, reproducibility, and what a filter bank must and must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from adbench_harness.basic.embedded import LAYERS, EmbeddedNet

CHANNELS = {"layer1": 79, "layer2": 123, "layer3": 167}
FINEST = slice(3, 7)  # the finest octave's four orientations, after the three colours
CHECKSUMS = {
    "opponent": 0.7500001,
    "wavelets": 2.773471,
    "binomial": 13,
    "layer1_mean": -9139.562,
    "layer1_std": 1369.327,
    "layer2_mean": -22591.53,
    "layer2_std": 2956.396,
    "layer3_mean": -42157.36,
    "layer3_std": 4847.352,
}
OUTPUTS = {
    "layer1": (0.2371298, 1.529444),
    "layer2": (-0.08990458, 1.924355),
    "layer3": (-0.4177523, 2.642048),
}


@pytest.fixture(scope="module")
def network() -> EmbeddedNet:
    return EmbeddedNet().eval()


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    noise = np.random.Generator(np.random.PCG64(seed)).random((count, 3, height, width))
    return torch.from_numpy(noise).float()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (224, 96), (65, 50), (17, 16), (5, 31)])
def test_grids_have_the_sizes_of_a_resnet(network, height, width):
    grids = network(images(2, height, width))
    assert {name: tuple(grid.shape) for name, grid in grids.items()} == {
        name: (2, CHANNELS[name], math.ceil(height / stride), math.ceil(width / stride))
        for name, stride in zip(LAYERS, (4, 8, 16), strict=True)
    }
    assert all(grid.dtype == torch.float32 for grid in grids.values())


def test_only_the_asked_layers_come_back(network):
    x = images(1, 64, 64)
    (only,) = EmbeddedNet(["layer2"])(x).values()
    torch.testing.assert_close(only, network(x)["layer2"], rtol=0, atol=0)


def test_two_networks_are_equal_whatever_torchs_seed(network):
    torch.manual_seed(1)
    other = EmbeddedNet()
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_building_one_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    EmbeddedNet()
    assert torch.equal(before, torch.get_rng_state())


def test_filters_and_gains_are_those_of_this_version(network):
    """A change here changes scores: raise ``EmbeddedNet.version`` with it."""
    sums = {
        name: float(value.double().flatten() @ torch.arange(1, value.numel() + 1).double())
        for name, value in network.state_dict().items()
    }
    assert network.version == "1"
    assert sums == pytest.approx(CHECKSUMS, rel=1e-4, abs=1e-4)


def test_output_is_that_of_this_version(network):
    grids = network(images(1, 64, 64))
    means = {name: (float(grid.mean()), float(grid.std())) for name, grid in grids.items()}
    for name, expected in OUTPUTS.items():
        assert means[name] == pytest.approx(expected, rel=1e-3), name


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_finite_and_constant_features(network, value):
    for grid in network(torch.full((1, 3, 48, 40), value)).values():
        assert torch.isfinite(grid).all()
        torch.testing.assert_close(grid, grid[..., :1, :1].expand_as(grid), rtol=0, atol=1e-3)


def test_a_batchs_other_images_change_nothing(network):
    batch = images(5, 64, 80)
    whole = network(batch)
    for name, grid in network(batch[[3, 1]]).items():
        torch.testing.assert_close(grid, whole[name][[3, 1]], rtol=1e-4, atol=1e-4)


def test_memory_format_changes_nothing(network):
    x = images(2, 64, 80)
    last = network(x.contiguous(memory_format=torch.channels_last))
    for name, grid in network(x).items():
        torch.testing.assert_close(last[name], grid, rtol=1e-4, atol=1e-4)


def test_a_shift_by_a_stride_shifts_the_grids(network):
    x = images(1, 400, 400)
    here, there = network(x[..., :384, :384]), network(x[..., 16:, 16:])
    for name, stride in zip(LAYERS, (4, 8, 16), strict=True):
        cells, margin = 16 // stride, 160 // stride
        moved = here[name][..., cells:, cells:]
        inside = slice(margin, 384 // stride - margin - cells)
        torch.testing.assert_close(
            moved[..., inside, inside], there[name][..., inside, inside], rtol=1e-3, atol=1e-3
        )


def test_stripes_excite_the_filter_across_them(network):
    wave = 0.5 + 0.3 * torch.cos(torch.arange(64) * 3 * math.pi / 4)
    across = wave.expand(1, 3, 64, 64)
    assert network(across)["layer1"][0, FINEST].mean((1, 2)).argmax() == 0
    assert network(across.mT)["layer1"][0, FINEST].mean((1, 2)).argmax() == 2


def test_division_by_strength_undoes_most_of_a_change_of_light(network):
    x = images(1, 64, 64)
    moved = (network(0.6 * x)["layer1"] - network(x)["layer1"]) * network.get_buffer("layer1_std")
    undivided = math.log(1 / 0.6)
    assert moved[:, FINEST].abs().mean() < 0.5 * undivided


def test_a_change_of_colour_at_equal_luminance_is_seen(network):
    grey = torch.full((1, 3, 64, 64), 0.5)
    tinted = grey + torch.tensor([0.05, -0.05, 0.0])[:, None, None]
    for name, grid in network(grey).items():
        change = (network(tinted)[name] - grid).abs().amax((0, 2, 3))
        assert change[0] < 1e-3
        assert change[1] > 0.5
