from __future__ import annotations

import pytest
import torch
from torch import nn

from adbench_harness.nn.bottleneck import decoder, encoder, grid


def layers(network):
    return [
        (type(part).__name__, part.in_channels, part.out_channels, part.kernel_size, part.stride)
        for part in network
        if not isinstance(part, nn.LeakyReLU | nn.Sigmoid)
    ]


def test_the_layers_are_those_of_the_papers_table():
    four, three, two, one = (4, 4), (3, 3), (2, 2), (1, 1)
    assert layers(encoder((128, 128), 100)) == [
        ("Conv2d", 3, 32, four, two),
        ("Conv2d", 32, 32, four, two),
        ("Conv2d", 32, 32, three, one),
        ("Conv2d", 32, 64, four, two),
        ("Conv2d", 64, 64, three, one),
        ("Conv2d", 64, 128, four, two),
        ("Conv2d", 128, 64, three, one),
        ("Conv2d", 64, 32, three, one),
        ("Conv2d", 32, 100, (8, 8), one),
    ]
    assert layers(decoder((128, 128), 100)) == [
        ("ConvTranspose2d", 100, 32, (8, 8), one),
        ("Conv2d", 32, 64, three, one),
        ("Conv2d", 64, 128, three, one),
        ("ConvTranspose2d", 128, 64, four, two),
        ("Conv2d", 64, 64, three, one),
        ("ConvTranspose2d", 64, 32, four, two),
        ("Conv2d", 32, 32, three, one),
        ("ConvTranspose2d", 32, 32, four, two),
        ("ConvTranspose2d", 32, 3, four, two),
    ]
    assert len(layers(encoder((256, 256), 500))) == 10


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (128, 128), (256, 256), (512, 384)])
def test_shapes(size):
    images = torch.rand(2, 3, *size)
    vectors = encoder(size, 7)(images)
    assert vectors.shape == (2, 7, 1, 1)
    made = decoder(size, 7)(vectors)
    assert made.shape == images.shape
    assert made.min() >= 0
    assert made.max() <= 1


def test_the_signal_keeps_its_scale():
    """Both ways, so that the first step of a training reaches every layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vectors = encoder((128, 128), 100)(torch.randn(4, 3, 128, 128))
        made = decoder((128, 128), 100)[:-1](torch.randn(4, 100, 1, 1))
    assert 0.2 < vectors.std() < 5
    assert 0.2 < made.std() < 5


@pytest.mark.parametrize(("size", "cell"), [((72, 64), 16), ((256, 240), 32), ((8, 64), 16)])
def test_a_side_that_cannot_be_halved_is_refused(size, cell):
    for network in (encoder, decoder, lambda size, _: grid(size)):
        with pytest.raises(ValueError, match=f"multiples of {cell} px, not {size[0]}x{size[1]}"):
            network(size, 4)
