from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from adbench_harness.nn.sspcab import SSPCAB, prediction_errors, replace_penultimate

SIZE = 9


@pytest.fixture
def block():
    torch.manual_seed(0)
    return SSPCAB(4)


def seen_by(block, place):
    """The cells [h, w] that change the masked convolution at ``place``."""
    grids = torch.rand(1, 4, SIZE, SIZE)
    found = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    before = block.masked(grids)[0, :, *place]
    for row, column in np.ndindex(SIZE, SIZE):
        other = grids.clone()
        other[0, :, row, column] += 1
        found[row, column] = not torch.equal(block.masked(other)[0, :, *place], before)
    return found


@pytest.mark.parametrize("dilation", [0, 1, 2])
def test_the_masked_convolution_sees_four_corners_and_never_its_centre(dilation):
    block, reach = SSPCAB(4, dilation), dilation + 1
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for down in (-reach, reach):
        for right in (-reach, reach):
            expected[4 + down, 4 + right] = True
    assert torch.equal(seen_by(block, (4, 4)), expected)


def test_a_changed_centre_changes_nothing(block):
    grids = torch.rand(1, 4, SIZE, SIZE)
    other = grids.clone()
    other[..., 4, 4] = 100.0
    before, after = (block.masked(grid)[..., 4, 4] for grid in (grids, other))
    assert torch.equal(before, after)


def test_zeros_lie_beyond_the_border(block):
    seen = seen_by(block, (0, 1))
    assert seen.nonzero().tolist() == [[2, 3]]
    grids = torch.rand(1, 4, SIZE, SIZE)
    expected = block.corners[3](grids[:, :, 2:3, 3:4])
    expected = expected + sum(corner.bias for corner in block.corners[:3])[:, None, None]
    torch.testing.assert_close(block.masked(grids)[:, :, :1, 1:2], expected)


def test_attention_multiplies_each_channel_by_a_share_of_the_whole_grid(block):
    grids = torch.rand(2, 4, SIZE, SIZE)
    predicted = block.masked(grids).relu()
    squeezed = predicted.mean((2, 3))
    first, second = block.attention[0], block.attention[2]
    share = torch.sigmoid(second(first(squeezed).relu()))
    torch.testing.assert_close(block(grids), predicted * share[:, :, None, None])
    assert (first.out_features, SSPCAB(64).attention[0].out_features) == (1, 8)


def test_errors_are_collected_only_within():
    network = nn.Sequential(SSPCAB(3), nn.Sequential(SSPCAB(3)))
    grids = torch.rand(1, 3, 5, 5)
    with prediction_errors(network) as found:
        made = network(grids)
    network(grids)
    first = network[0](grids)
    expected = [functional.mse_loss(first, grids), functional.mse_loss(made, first)]
    torch.testing.assert_close(found, expected)
    found[0].backward()
    assert network[0].corners[0].weight.grad.abs().sum() > 0
    with prediction_errors(nn.Conv2d(1, 1, 1)) as found:
        pass
    assert found == []


def test_the_last_convolution_but_one_is_replaced():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()), nn.Conv2d(4, 1, 3)
    )
    replace_penultimate(network)
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.Conv2d | SSPCAB)]
    assert kinds[:2] == [nn.Conv2d, SSPCAB]
    assert isinstance(network[1][0], SSPCAB)


@pytest.mark.parametrize("changes", [{"out_channels": 5}, {"stride": 2}])
def test_a_convolution_that_changes_the_shape_cannot_be_replaced(changes):
    layer = nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3} | changes)
    with pytest.raises(ValueError, match="cannot replace '0'"):
        replace_penultimate(nn.Sequential(layer, nn.Conv2d(4, 1, 1)))
