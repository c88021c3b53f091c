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
    arrays = encode(Maps(np.zeros((1, 2, 2), np.float32), spec))
    assert arrays["input"].tolist() == stored
    back = decode(arrays).spec
    assert (back.resize, back.size, back.aspect) == (spec.resize, spec.size, spec.aspect)
    assert (back.crop is None) == (spec.crop is None)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30))
def test_scores_come_back_unchanged(scores: list[float]) -> None:
    values = np.array(scores, np.float32).reshape(1, 1, -1)
    back = decode(encode(Maps(values, InputSpec()))).values
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, values)
