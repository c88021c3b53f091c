from __future__ import annotations

import itertools
import math
import threading
import time

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from adbench_harness.metrics.ranking import Ranking

LIMITS = (0.05, 0.3, 0.5, 1.0)
Pixels = tuple[list[np.ndarray], list[np.ndarray]]


def brute_force_aupro(maps: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    """The definition: every threshold, every region, the trapezoid rule in float64."""
    normal = np.concatenate([m[~mask] for m, mask in zip(maps, masks, strict=True)])
    regions = []
    for m, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [m[labels == region] for region in range(1, count + 1)]
    curve = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        overlap = np.mean([np.mean(region >= threshold) for region in regions])
        curve.append((float(np.mean(normal >= threshold)), float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + y1) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def flat(maps: list[np.ndarray], masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps])


def sklearn_f1_max(labels: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return float(f1.max())


def metrics(ranking: Ranking) -> list[float]:
    return [
        ranking.auroc(),
        ranking.average_precision(),
        ranking.f1_max(),
        *(ranking.aupro(limit) for limit in LIMITS),
    ]


def reference(maps: list[np.ndarray], masks: list[np.ndarray]) -> list[float]:
    labels, scores = flat(maps, masks)
    return [
        float(roc_auc_score(labels, scores)),
        float(average_precision_score(labels, scores)),
        sklearn_f1_max(labels, scores),
        *(brute_force_aupro(maps, masks, limit) for limit in LIMITS),
    ]


@st.composite
def pixels(draw: st.DrawFn) -> Pixels:
    """A few small images of different sizes: any share of defects, any number of score levels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 3, 5, 20, 1 << 20]))
    share = draw(st.sampled_from([0.05, 0.2, 0.5, 0.9]))
    shift = draw(st.sampled_from([-1.0, 0.0, 1.0]))
    maps, masks = [], []
    for height, width in draw(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)
    ):
        mask = rng.random((height, width)) < share
        score = rng.normal(size=mask.shape) + shift * mask
        maps.append((np.round(score * levels) / levels if levels > 1 else 0 * score).astype("f4"))
        masks.append(mask)
    masks[0].flat[0] = True
    masks[-1].flat[-1] = False
    return (maps, masks) if flat(maps, masks)[0].any() else ([*maps, maps[0]], [*masks, ~masks[0]])


@settings(deadline=None)
@given(pixels(), st.integers(1, 3))
def test_pixel_metrics_equal_their_references(case: Pixels, threads: int) -> None:
    ranking = Ranking.of_pixels(*case, threads=threads)
    assert metrics(ranking) == pytest.approx(reference(*case), abs=1e-12)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@settings(max_examples=50)
@given(case=pixels())
def test_tensors_give_what_arrays_do(case: Pixels, device: str) -> None:
    maps, masks = case
    tensors = [torch.from_numpy(m).to(device) for m in maps]
    ranking = Ranking.of_pixels(tensors, masks)
    assert metrics(ranking) == pytest.approx(metrics(Ranking.of_pixels(*case)), abs=1e-12)


@given(st.data(), st.sampled_from([32, 64]))
def test_scores_of_any_size_keep_their_order(data: st.DataObject, width: int) -> None:
    """From the smallest subnormal numbers to the largest, and next neighbours among them."""
    near = st.sampled_from([0.0, -0.0, 1.0, np.nextafter(np.float32(1), np.float32(2)), 2e-45])
    values = near | st.floats(allow_nan=False, allow_infinity=False, width=width)
    drawn = data.draw(st.lists(st.tuples(values, st.booleans()), min_size=2, max_size=40))
    scores = np.array([value for value, _ in drawn], f"f{width // 8}")
    labels = np.array([True, False, *(label for _, label in drawn[2:])])
    places = np.unique(scores, return_inverse=True)[1].astype("f8")
    expected = [
        roc_auc_score(labels, places),
        average_precision_score(labels, places),
        sklearn_f1_max(labels, places),
    ]
    assert metrics(Ranking.of_images(scores, labels))[:3] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(pixels(), st.floats(0.001, 1))
def test_aupro_is_exact_at_any_limit(case: Pixels, limit: float) -> None:
    ranking = Ranking.of_pixels(*case, threads=1)
    assert ranking.aupro(limit) == pytest.approx(brute_force_aupro(*case, limit), abs=1e-12)


@settings(deadline=None)
@given(pixels())
def test_image_metrics_equal_their_references(case: Pixels) -> None:
    labels, scores = flat(*case)
    ranking = Ranking.of_images(scores, labels)
    assert metrics(ranking)[:3] == pytest.approx(reference(*case)[:3], abs=1e-12)
    for limit in LIMITS[:-1]:  # sklearn scales from the area of chance (0.5) to the whole (1)
        chance = limit**2 / 2
        scaled = 0.5 + (ranking.aupro(limit) * limit - chance) / (limit - chance) / 2
        assert scaled == pytest.approx(roc_auc_score(labels, scores, max_fpr=limit), abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.001, 1))
def test_no_area_exceeds_one(positives: int, negatives: int, limit: float) -> None:
    """Although the sum of many fractions may, as with 30 positives."""
    labels = np.arange(negatives + positives) >= negatives
    ranking = Ranking.of_images(np.arange(len(labels), dtype="f4"), labels)
    for area in (ranking.auroc(), ranking.aupro(limit)):
        assert 1 - 1e-12 <= area <= 1


@settings(deadline=None)
@given(pixels())
def test_only_the_order_of_scores_counts(case: Pixels) -> None:
    maps, masks = case
    expected = metrics(Ranking.of_pixels(maps, masks, threads=1))
    for scale in (lambda m: np.exp2(m.astype("f8")), lambda m: m * 2**-100, lambda m: m * 2**100):
        scaled = Ranking.of_pixels([scale(m) for m in maps], masks, threads=1)
        assert metrics(scaled) == expected


@settings(deadline=None)
@given(pixels())
def test_no_bit_depends_on_the_number_of_threads(case: Pixels) -> None:
    one, three = (metrics(Ranking.of_pixels(*case, threads=threads)) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


@settings(deadline=None)
@given(pixels(), st.randoms())
def test_the_order_of_images_and_the_number_of_threads_do_not_count(case: Pixels, random) -> None:
    order = list(range(len(case[0])))
    random.shuffle(order)
    shuffled = Ranking.of_pixels(*([part[i] for i in order] for part in case), threads=2)
    assert metrics(shuffled) == pytest.approx(
        metrics(Ranking.of_pixels(*case, threads=1)), abs=1e-12
    )


def test_many_thresholds_and_quantised_scores_at_scale() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((300, 400)) < share for share in (0.5, 0.02, 0.0)]
    maps = [(rng.normal(size=mask.shape) + mask).astype("f4") for mask in masks]
    for scores in (maps, [np.round(m * 100) / 100 for m in maps]):
        labels, values = flat(scores, masks)
        ranking = Ranking.of_pixels(scores, masks, threads=2)
        assert metrics(ranking)[:3] == pytest.approx(
            [
                roc_auc_score(labels, values),
                average_precision_score(labels, values),
                sklearn_f1_max(labels, values),
            ],
            abs=1e-9,
        )


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[:3, :3] = mask[9, 9] = True
    scores = np.zeros((10, 10), dtype="f4")
    scores[9, 9] = 1
    # A region of one pixel is found with no false positive, the other tied with all the rest.
    ranking = Ranking.of_pixels([scores], [mask])
    assert ranking.aupro(0.4) == pytest.approx(0.5 + 0.5 * 0.4 / 2)
    assert ranking.aupro(1.0) == pytest.approx(0.75)


def test_equal_scores_are_a_coin_toss() -> None:
    labels = np.array([True, False, False, False])
    ranking = Ranking.of_images(np.full(4, 7.0), labels)
    assert (ranking.auroc(), ranking.average_precision()) == (0.5, 0.25)
    assert ranking.f1_max() == pytest.approx(0.4)


def test_large_scores_are_not_saturated() -> None:
    scores = np.array([1000.0, 1000.25, 1000.5, 1000.75], dtype="f4")
    assert Ranking.of_images(scores, np.array([False, False, True, True])).auroc() == 1


def test_negative_zero_ties_with_zero() -> None:
    assert Ranking.of_images(np.array([-0.0, 0.0]), np.array([True, False])).auroc() == 0.5


@pytest.mark.parametrize("label", [True, False])
def test_one_class_alone_has_no_metrics(label: bool) -> None:
    pixels = Ranking.of_pixels([np.eye(3, dtype="f4")], [np.full((3, 3), label)])
    images = Ranking.of_images(np.arange(3.0), np.full(3, label))
    assert all(math.isnan(value) for value in metrics(pixels) + metrics(images))


@pytest.mark.parametrize("kind", [np.array, np.float64, torch.from_numpy])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(value: float, kind) -> None:
    maps = [np.zeros((2, 2), dtype="f4") for _ in range(3)]
    maps[1][1, 0] = value
    masks = [np.eye(2, dtype=bool)] * 3
    with pytest.raises(ValueError, match="scores 1 contain a value that is not finite"):
        Ranking.of_pixels([kind(m) for m in maps], masks, threads=2)


@pytest.mark.parametrize(
    ("maps", "masks"),
    [
        ([], []),
        ([np.zeros((2, 2))], []),
        ([np.zeros((2, 3))], [np.zeros((3, 2), dtype=bool)]),
    ],
)
def test_maps_without_their_masks_are_refused(maps, masks) -> None:
    with pytest.raises(ValueError, match="empty or differ"):
        Ranking.of_pixels(maps, masks)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1, math.nan])
def test_a_limit_that_is_no_rate_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        Ranking.of_images(np.arange(2.0), np.array([False, True])).aupro(limit)


def test_inputs_are_left_as_they_are() -> None:
    rng = np.random.default_rng(0)
    maps, masks = [rng.normal(size=(5, 6))], [rng.random((5, 6)) < 0.3]
    copies = maps[0].copy(), masks[0].copy()
    metrics(Ranking.of_pixels(maps, masks))
    np.testing.assert_array_equal(maps[0], copies[0])
    np.testing.assert_array_equal(masks[0], copies[1])


def test_memory_does_not_grow_with_the_maps() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[100:150, 100:150] = True
    maps = [rng.random(mask.shape, dtype="f4") for _ in range(40)]
    process, stop = psutil.Process(), threading.Event()
    before, peak = process.memory_info().rss, [0]

    def watch() -> None:
        while not stop.is_set():
            peak[0] = max(peak[0], process.memory_info().rss - before)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    metrics(Ranking.of_pixels(maps, [mask] * 40, threads=1))
    stop.set()
    watcher.join()
    assert 0 < peak[0] < 40 * 4e6 / 2  # half a copy of all scores
