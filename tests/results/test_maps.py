from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench_harness.results.maps import Maps, decode, encode
from adbench_harness.types import InputSpec


@pytest.mark.parametrize(
    ("spec", "stored"),
    [
        (InputSpec(), [256, 0, 224, 224, 0]),
        (InputSpec(32, None), [32, 0, 0, 0, 0]),
        (InputSpec(256, 256, "squash"), [256, 0, 256, 256, 1]),
        (InputSpec((320, 640), None), [320, 640, 0, 0, 0]),
        (InputSpec((320, 640), (300, 600)), [320, 640, 300, 600, 0]),
        (InputSpec(320, (300, 200)), [320, 0, 300, 200, 0]),
    ],
)
def test_how_an_image_becomes_the_input_comes_back(spec: InputSpec, stored: list[int]) -> None:
    arrays = encode(Maps.of(np.zeros((1, 2, 2), np.float32), spec))
    assert arrays["input"].tolist() == stored
    back = decode(arrays).spec
    assert (back.resize, back.size, back.aspect) == (spec.resize, spec.size, spec.aspect)
    assert (back.crop is None) == (spec.crop is None)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30))
def test_values_move_by_half_a_step_at_most_and_keep_their_order(values: list[float]) -> None:
    given_ = np.array(values, np.float32).reshape(1, 1, -1)
    maps = decode(encode(Maps.of(given_, InputSpec())))
    assert maps.values.dtype == np.float32
    step = (float(given_.max()) - float(given_.min())) / 65535
    assert np.abs(maps.values - given_).max() <= 0.5 * step + 2e-7 * np.abs(given_).max()
    order = np.argsort(given_.ravel(), kind="stable")
    assert (np.diff(maps.values.ravel()[order]) >= 0).all()


def test_maps_of_one_value_come_back() -> None:
    maps = Maps.of(np.full((2, 3, 3), 0.25, np.float32), InputSpec())
    assert (decode(encode(maps)).values == 0.25).all()


def test_the_lowest_and_the_highest_score_are_the_ends_of_the_scale() -> None:
    maps = Maps.of(np.array([[[-2.0, 6.0]]], np.float32), InputSpec())
    assert maps.steps.tolist() == [[[0, 65535]]]
    assert maps.values.tolist() == [[[-2.0, 6.0]]]
