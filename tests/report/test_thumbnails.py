from __future__ import annotations

import numpy as np
import pytest

from adbench_harness.report.thumbnails import Scale
from adbench_harness.results.maps import Maps
from adbench_harness.types import InputSpec


def maps(values):
    return Maps(np.asarray(values, np.float32).reshape(10, 50, 50), InputSpec((50, 50), None))


NORMAL = np.random.default_rng(0).normal(5, 1, 25_000)


def test_usual_scores_are_drawn_as_they_are():
    scale = Scale.of(maps(NORMAL))
    assert (scale.power, scale.robust, scale.flat) == (1, True, False)
    assert np.median(scale.shares(maps(NORMAL).values)) == pytest.approx(0.47, abs=0.03)


@pytest.mark.parametrize(
    "scores",
    [
        np.where(np.arange(25_000) == 7, 1e4, NORMAL),
        np.exp(1.5 * (NORMAL - 5)),
        np.abs(np.random.default_rng(1).standard_cauchy(25_000)),
    ],
    ids=["one extreme pixel", "log-normal", "Cauchy"],
)
def test_a_heavy_tail_does_not_make_the_rest_black(scores):
    drawn = maps(scores)
    scale = Scale.of(drawn)
    shares = scale.shares(drawn.values)
    assert np.percentile(shares, 95) > 0.2
    # A linear scale between the lowest and the highest score is black.
    assert np.percentile((scores - np.min(scores)) / np.ptp(scores), 95) < 0.05
    # A higher score is never darker.
    order = np.argsort(drawn.values, axis=None)
    assert np.all(np.diff(shares.ravel()[order]) >= 0)
    assert ("heavy tail" in scale.words(drawn)) == (scale.power < 1)


def test_equal_scores_are_one_colour_and_said_to_be():
    flat = maps(np.full(25_000, 0.5))
    scale = Scale.of(flat)
    assert scale.flat
    assert set(scale.shares(flat.values).ravel().tolist()) == {0.5}
    assert "flat" in scale.words(flat)


def test_few_pixels_that_differ_are_seen():
    sparse = maps(np.where(np.arange(25_000) < 20, 3.0, 1.0))
    scale = Scale.of(sparse)
    assert not scale.robust
    assert sorted(set(scale.shares(sparse.values).ravel().tolist())) == [0, 1]
    assert "black (1) to yellow (3), the lowest and the highest" in scale.words(sparse)
    assert "100% of the pixels have the lowest score" in scale.words(sparse)


def test_the_ends_of_the_scale_are_scores():
    scale = Scale.of(maps(NORMAL))
    low, high = np.percentile(NORMAL, [1, 99.5])
    assert f"black ({low:.3g}) to yellow ({high:.3g})" in scale.words(maps(NORMAL))
