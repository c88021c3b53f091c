from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from adbench_harness.metrics.regions import region_weights


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_each_pixel_weighs_one_over_the_size_of_its_region(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    expected = np.zeros(mask.shape)
    for region in range(1, count + 1):
        expected[labels == region] = 1 / np.sum(labels == region)
    np.testing.assert_array_equal(region_weights(mask), expected[mask])


def test_pixels_that_touch_diagonally_are_one_region() -> None:
    assert region_weights(np.eye(4, dtype=bool)).tolist() == [0.25] * 4


def test_a_mask_need_not_be_contiguous() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[::2, ::4] = True
    assert region_weights(mask.T[::2, ::2]).sum() == pytest.approx(2)


def test_a_mask_without_defects_has_no_weights() -> None:
    assert region_weights(np.zeros((3, 4), dtype=bool)).shape == (0,)
