from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from adbench_harness.nn.training import drawn_from
from adbench_harness.nn.unet import UNet, autoencoder, blocks


def numbers(network):
    return sum(p.numel() for p in network.parameters())


def block(before, after):
    """Weights and biases of a convolution, scales and shifts of a batch normalisation."""
    return 9 * before * after + after + 2 * after


def test_numbers_of_parameters_by_hand():
    plain = autoencoder(3, 1, (4, 8), (5,))
    expected = sum(block(*pair) for pair in ((3, 4), (4, 4), (4, 8), (8, 8)))
    expected += sum(block(*pair) for pair in ((8, 8), (8, 8), (8, 5))) + 9 * 5 + 1
    assert numbers(plain) == expected
    skipping = UNet(3, 2, (4, 8), (5,))
    expected = sum(block(*pair) for pair in ((3, 4), (4, 4), (4, 8), (8, 8)))
    expected += sum(block(*pair) for pair in ((8, 5), (9, 5), (5, 5))) + 2 * 9 * 5 + 2
    assert numbers(skipping) == expected


@pytest.mark.parametrize("make", [autoencoder, UNet])
def test_images_keep_their_size(make):
    network = make(6, 2, (2, 3, 4), (3, 2)).eval()
    images = torch.rand(2, 6, 12, 20)
    assert network(images).shape == (2, 2, 12, 20)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(alone, network(images), rtol=1e-4, atol=1e-5)


def test_levels_must_match():
    with pytest.raises(ValueError, match="zip"):
        UNet(3, 1, (2, 4, 8), (4,))


def test_a_unet_equals_its_layers_one_by_one():
    with drawn_from(torch.Generator().manual_seed(0)):
        network = UNet(3, 1, (2, 4, 6), (4, 3))
    images = torch.rand(2, 3, 8, 8)
    first, second, third = network.encoder
    fine = first(images)
    middle = second(functional.max_pool2d(fine, 2))
    coarse = third(functional.max_pool2d(middle, 2))
    grid = network.joined[0](torch.cat([network.doubled[0](coarse), middle], 1))
    grid = network.joined[1](torch.cat([network.doubled[1](grid), fine], 1))
    assert torch.equal(network(images), network.last(grid))


def test_skip_connections_carry_what_pooling_loses():
    """Without the coarse levels, single pixels reach the result only through the skip."""
    with drawn_from(torch.Generator().manual_seed(0)):
        network = UNet(1, 1, (8, 8), (8,)).eval()
    for layer in network.doubled[0].modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = images.clone()
    other[..., 3, 3] += 0.1
    assert not torch.equal(network(images), network(other))


def test_padding_is_every_convolutions():
    for network in (
        autoencoder(3, 1, (2, 2), (2,), "replicate"),
        UNet(3, 1, (2, 2), (2,), "replicate"),
    ):
        modes = {m.padding_mode for m in network.modules() if isinstance(m, nn.Conv2d)}
        assert modes == {"replicate"}
    assert blocks(1, 2)[0].padding_mode == "zeros"
