from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adbench_harness.images import geometry
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.types import InputSpec

SPECS = st.builds(
    lambda resize, cut, aspect: InputSpec(resize, None if cut is None else resize - cut, aspect),
    st.integers(24, 96),
    st.one_of(st.none(), st.integers(0, 12)),
    st.sampled_from(["keep", "squash"]),
)


SIZES = st.tuples(st.integers(17, 150), st.integers(17, 150))


def blob(size: tuple[int, int], centre: tuple[float, float], spread: float) -> NDArray[np.float32]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    squares = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
    return np.exp(-squares / (2 * spread**2)).astype(np.float32)


def centroid(values: NDArray[np.float32]) -> tuple[float, float]:
    weights = values.astype(np.float64) - values.min()
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    return (
        float((rows * weights).sum() / weights.sum()),
        float((columns * weights).sum() / weights.sum()),
    )


@settings(deadline=None, max_examples=80)
@given(SPECS, SIZES, st.floats(0.3, 0.7), st.floats(0.3, 0.7))
@example(InputSpec(256, 224, "keep"), (37, 91), 0.5, 0.5)
@example(InputSpec(64, None, "keep"), (200, 31), 0.4, 0.6)
def test_a_planted_blob_comes_back_to_its_place(
    spec: InputSpec, size: tuple[int, int], down: float, across: float
) -> None:
    top, left, bottom, right = geometry.window(spec, size)
    centre = (top + down * (bottom - top - 1), left + across * (right - left - 1))
    spread = max(1.5, min(bottom - top, right - left) / 20)
    planted = blob(size, centre, spread)
    image = np.repeat((255 * planted).round().astype(np.uint8)[:, :, None], 3, 2)
    pixels = geometry.to_input(image, spec)
    assert pixels.shape == (3, *spec.size)
    assert pixels.dtype == torch.uint8
    found = geometry.from_input(pixels[0].float().numpy(), spec, size)
    assert found.shape == size
    assert found.dtype == np.float32
    # One pixel of the image, or of the input where that is the coarser one.
    coarse = max((bottom - top) / spec.size[0], (right - left) / spec.size[1], 1)
    truth, back = centroid(planted), centroid(found)
    assert max(abs(truth[0] - back[0]), abs(truth[1] - back[1])) <= coarse


@settings(deadline=None)
@given(SPECS, SIZES)
def test_window_lies_in_the_image_and_shows_the_share_that_the_crop_keeps(
    spec: InputSpec, size: tuple[int, int]
) -> None:
    top, left, bottom, right = geometry.window(spec, size)
    assert 0 <= top < bottom <= size[0]
    assert 0 <= left < right <= size[1]
    if spec.crop is None:
        assert (top, left, bottom, right) == (0, 0, *size)
        return
    scaled = geometry.resized(spec, size)
    assert abs((bottom - top) - spec.crop * size[0] / scaled[0]) <= 1
    assert abs((right - left) - spec.crop * size[1] / scaled[1]) <= 1
    # Centred, but for the rounding of an odd remainder.
    assert abs(top - (size[0] - bottom)) <= 1 + size[0] / scaled[0]
    assert abs(left - (size[1] - right)) <= 1 + size[1] / scaled[1]


@settings(deadline=None)
@given(SPECS, SIZES)
def test_a_constant_image_and_a_constant_map_stay_constant(
    spec: InputSpec, size: tuple[int, int]
) -> None:
    image = np.full((*size, 3), (200, 17, 90), np.uint8)
    pixels = geometry.to_input(image, spec)
    assert (pixels == torch.tensor([200, 17, 90], dtype=torch.uint8)[:, None, None]).all()
    found = geometry.from_input(np.full(spec.size, 0.25, np.float32), spec, size)
    assert np.allclose(found, 0.25)


def test_the_input_of_the_same_size_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    pixels = geometry.to_input(image, InputSpec(32, None))
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), image)
    cropped = geometry.to_input(image, InputSpec(32, 20))
    assert np.array_equal(cropped.permute(1, 2, 0).numpy(), image[6:26, 6:26])


def test_keep_and_squash_of_an_image_that_is_not_square() -> None:
    assert geometry.resized(InputSpec(100, 80), (50, 75)) == (100, 150)
    assert geometry.resized(InputSpec(100, 80, "squash"), (50, 75)) == (100, 100)
    assert geometry.resized(InputSpec(100, None), (50, 75)) == (100, 100)
    assert geometry.window(InputSpec(100, 80), (50, 75)) == (5, 18, 45, 58)
    assert geometry.window(InputSpec(100, 80, "squash"), (50, 75)) == (5, 8, 45, 68)
    assert geometry.window(InputSpec(100, None), (50, 75)) == (0, 0, 50, 75)


def test_what_the_crop_cut_away_scores_the_minimum_or_is_left_out() -> None:
    spec, size = InputSpec(40, 20), (40, 60)
    scores = np.random.default_rng(0).uniform(3, 4, (20, 20)).astype(np.float32)
    whole = geometry.from_input(scores, spec, size)
    top, left, bottom, right = geometry.window(spec, size)
    assert np.array_equal(whole[top:bottom, left:right], scores)
    outside = np.ones(size, bool)
    outside[top:bottom, left:right] = False
    assert (whole[outside] == scores.min()).all()
    assert np.array_equal(geometry.from_input(scores, spec, size, cropped=True), scores)


@pytest.mark.parametrize("border", ["full", "crop"])
@pytest.mark.parametrize("size", [None, 30, 200])
def test_map_and_mask_meet_at_one_size(border: str, size: int | None) -> None:
    truth = np.zeros((60, 90), bool)
    truth[25:35, 40:50] = True
    hot = np.zeros((32, 32), np.float32)
    spec = InputSpec(40, 32)
    top, left, bottom, right = geometry.window(spec, truth.shape)
    image = np.repeat(truth[:, :, None] * np.uint8(255), 3, 2)
    hot = geometry.to_input(image, spec)[0].float().numpy()
    placed, met = geometry.meet(hot, truth, spec, EvaluationSettings(size, border))
    whole = truth.shape if border == "full" else (bottom - top, right - left)
    scale = 1 if size is None else size / max(whole)
    assert placed.shape == met.shape == tuple(round(side * scale) for side in whole)
    assert met.dtype == np.bool_
    assert placed.dtype == np.float32
    inside = top <= 25 and bottom >= 35 and left <= 40 and right >= 50
    assert inside
    assert met.sum() == pytest.approx(100 * scale**2, rel=0.35)
    # The map is hot where the mask is: nothing was shifted or turned.
    assert placed[met].mean() > 10 * placed[~met].mean()
    assert abs(centroid(placed)[0] - centroid(met.astype(np.float32))[0]) <= max(1, scale)
    assert abs(centroid(placed)[1] - centroid(met.astype(np.float32))[1]) <= max(1, scale)


def test_full_size_evaluation_leaves_the_mask_untouched() -> None:
    truth = np.random.default_rng(0).random((45, 31)) < 0.1
    _, met = geometry.meet(
        np.zeros((24, 24), np.float32), truth, InputSpec(32, 24), EvaluationSettings()
    )
    assert np.array_equal(met, truth)
