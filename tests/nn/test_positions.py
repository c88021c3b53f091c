from __future__ import annotations

import math

import pytest
import torch

from adbench_harness.nn.positions import sinusoids


def test_codes_are_sines_and_cosines_of_column_and_row():
    found = sinusoids(8, (5, 7))
    assert found.shape == (8, 5, 7)
    for row, column in ((0, 0), (4, 2), (1, 6)):
        expected = [
            wave(place * rate)
            for place in (column, row)
            for rate in (1, 10000 ** (-2 / 4))
            for wave in (math.sin, math.cos)
        ]
        assert found[:, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_every_position_has_a_code_of_its_own():
    codes = sinusoids(16, (12, 9)).flatten(1).T
    distances = torch.cdist(codes, codes).fill_diagonal_(1)
    assert distances.min() > 0.1


@pytest.mark.parametrize("channels", [0, 2, 6])
def test_channels_that_cannot_be_divided_are_refused(channels):
    with pytest.raises(ValueError, match=f"multiple of 4 channels, not {channels}"):
        sinusoids(channels, (2, 2))
