from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import f1_score, precision_recall_curve

from adbench_harness.compare.images import Flip, ImageChanges, aligned, changes, threshold
from adbench_harness.statistics import delong

SCORES = arrays.arrays(np.float32, 24, elements=st.integers(-8, 8).map(float))
LABELS = np.arange(24) % 3 > 0


def images(score, label=LABELS):
    names = np.array([f"{i}.png" for i in range(len(score))])
    return {"path": names, "defect": names, "label": label.astype(np.int8), "score": score}


class TestThreshold:
    @given(SCORES)
    def test_f1_is_best_there(self, scores):
        found = threshold(scores, LABELS)
        precision, recall, _ = precision_recall_curve(LABELS, scores)
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        assert f1_score(LABELS, scores >= found) == pytest.approx(best)

    @given(SCORES)
    def test_rounding_moves_no_image_across(self, scores):
        found = threshold(scores, LABELS)
        if found > scores.min():
            assert np.abs(scores - found).min() >= 0.5

    def test_without_anomalous_images_there_is_none(self):
        assert math.isnan(threshold(np.ones(3), np.zeros(3, bool)))


class TestScores:
    @given(SCORES)
    def test_nothing_changed_is_nothing(self, scores):
        found = changes(images(scores), images(scores), 0.0)
        assert (found.moved, found.furthest, found.flips) == (0, 0.0, ())

    @given(SCORES, SCORES)
    def test_the_flipped_are_those_on_the_other_side(self, before, after):
        found = changes(images(before), images(after), 0.1)
        crossed = {
            f"{i}.png"
            for i, (old, new) in enumerate(zip(before, after, strict=True))
            if (old >= found.threshold) != (new >= found.threshold)
        }
        assert {flip.path for flip in found.flips} == crossed
        for flip in found.flips:
            assert (
                flip.now == ("anomalous" if flip.new >= found.threshold else "normal") != flip.was
            )
        ways = [abs(flip.new - flip.old) for flip in found.flips]
        assert ways == sorted(ways, reverse=True)

    def test_distances_are_in_standard_deviations(self):
        before = np.arange(24, dtype=np.float32)
        after = before.copy()
        after[5] += 0.3 * before.std()
        after[7] -= 0.1 * before.std()
        found = changes(images(before), images(after), 0.2)
        assert (found.total, found.moved) == (24, 1)
        assert found.furthest == pytest.approx(0.3, abs=1e-5)
        assert changes(images(1000 * before), images(1000 * after), 0.2).moved == 1

    def test_the_test_is_delongs_paired_one(self):
        draw = np.random.default_rng(0)
        before, after = draw.normal(LABELS * [[1.5], [0.5]], 1, (2, 24))
        placed = [delong.Placements.of(scores, LABELS) for scores in (before, after)]
        assert changes(images(before), images(after), 0).p == delong.paired(placed)[0, 1]

    def test_images_of_unknown_label_have_a_side_but_no_say(self):
        labels = np.array([0, 1, 0, 1, -1], np.int8)
        before = np.array([0, 3, 1, 4, 9], np.float32)
        found = changes(images(before, labels), images(before[[0, 1, 2, 3, 0]], labels), 0.1)
        assert found.threshold == 2
        assert found.flips == (Flip("4.png", "4.png", "anomalous", "normal", 9.0, 0.0),)

    def test_equal_scores_have_a_distance(self):
        still = np.ones(24, np.float32)
        assert changes(images(still), images(still + 1), 0.5).moved == 24


def test_classes_flip_when_another_is_likeliest():
    probability = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], np.float32)
    base = {"path": np.array(["a", "b", "c"]), "defect": np.array(["x", "y", "y"])}
    before = {**base, "probability": probability, "class": np.array(["x", "y"])}
    after = {**before, "probability": probability[[0, 0, 2]]}
    found = changes(before, after, 0.05)
    assert (found.total, found.moved) == (3, 1)
    assert found.furthest == pytest.approx(0.4)
    assert [(f.path, f.was, f.now) for f in found.flips] == [("b", "y", "x")]
    assert math.isnan(found.threshold)


def test_a_run_without_scores_says_nothing():
    assert changes({}, images(np.ones(24)), 0.1) == ImageChanges()


def test_classes_are_compared_by_their_name():
    base = images(np.zeros(3), LABELS[:3])
    probability = np.array([[0.8, 0.1, 0.1], [0.4, 0.6, 0.0], [0.3, 0.0, 0.7]], np.float32)
    before = {**base, "probability": probability, "class": np.array(["x", "y", "z"])}
    after = {**base, "probability": probability[:, [2, 0, 1]], "class": np.array(["z", "x", "y"])}
    found, reasons = aligned(before, after)
    assert reasons == ()
    assert changes(before, found, 0.0).furthest == 0
    after = {**base, "probability": probability, "class": np.array(["x", "y", "new"])}
    _, reasons = aligned(before, after)
    assert reasons == (
        "classes: 1 only in the baseline, such as z; 1 only in the new run, such as new",
    )
    _, reasons = aligned(before, images(np.zeros(3), LABELS[:3]))
    assert reasons == ("probability of the images: only in the baseline",)
