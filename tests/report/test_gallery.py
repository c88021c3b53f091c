from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench_harness.report.gallery import judgments, standings
from adbench_harness.statistics.delong import Placements


def images(scores, labels, **more):
    return {"score": np.array(scores, np.float32), "label": np.array(labels, np.int8), **more}


def test_the_worst_mistakes_come_first():
    #        far missed, near missed, right, false alarm, right
    scores, labels = [0.0, 0.5, 0.9, 0.8, 0.2, 0.4], [1, 1, 1, 0, 0, 0]
    found = judgments(images(scores, labels))
    assert [judgment.index for judgment in found] == [0, 3, 5, 1, 4, 2]
    words = {judgment.index: judgment.words for judgment in found}
    assert words[0] == "missed: 3 of 3 normal images score at least as high"
    assert words[3] == "false alarm: 2 of 3 defective images score no higher"
    assert words[2] == "above all 3 normal images"
    assert [judgment.wrong > 0 for judgment in found] == [True] * 5 + [False]


def test_of_those_that_are_right_the_nearest_to_wrong_comes_first():
    found = judgments(images([0.1, 0.3, 0.5, 0.9], [0, 0, 1, 1]))
    assert {found[0].index, found[1].index} == {1, 2}
    assert {found[2].index, found[3].index} == {0, 3}
    assert not any(judgment.wrong for judgment in found)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_what_is_wrong_is_what_the_auroc_lacks(pairs):
    """Without ties, the mean of what is wrong over either kind is 1 - AUROC."""
    scores = np.array([score for score, _ in pairs]) * 100.0 + np.arange(len(pairs))
    labels = np.array([label for _, label in pairs])
    found = judgments(images(scores, labels))
    assert sorted(judgment.index for judgment in found) == list(range(len(pairs)))
    assert [v.wrong for v in found] == sorted((v.wrong for v in found), reverse=True)
    if labels.all() or not labels.any():
        assert all("images to compare with" in judgment.words for judgment in found)
        return
    expected = 1 - Placements.of(scores, labels).auroc
    for kind in (True, False):
        wrong = [judgment.wrong for judgment in found if labels[judgment.index] == kind]
        assert np.mean(wrong) == pytest.approx(expected)


def test_unlabelled_images_come_last_by_score_and_judge_nobody():
    found = judgments(images([0.2, 0.1, 9.0, 0.5], [-1, 0, -1, 1]))
    assert [judgment.index for judgment in found[2:]] == [2, 0]
    assert [judgment.words for judgment in found[2:]] == ["unlabelled"] * 2
    assert [judgment.mistaken for judgment in found] == [False, False, None, None]
    assert not any(judgment.wrong for judgment in found)


def test_without_normal_images_nothing_is_judged():
    found = judgments(images([0.2, 0.9], [1, 1]))
    assert [(v.index, v.mistaken) for v in found] == [(1, None), (0, None)]
    assert found[0].words == "no normal images to compare with"


def test_a_standing_is_the_share_of_normal_images_below():
    labels = [0, 0, 1, -1]
    assert standings(images([1, 3, 2, 3], labels)).tolist() == [0.25, 0.75, 0.5, 0.75]
    # Without normal images, of all.
    assert standings(images([1, 3], [-1, -1])).tolist() == [0.25, 0.75]
    assert standings({"label": np.array([0])}) is None


def test_maps_alone_have_no_order():
    found = judgments({"label": np.array([0, 1], np.int8)})
    assert [(v.index, v.words) for v in found] == [(0, "no image score"), (1, "no image score")]


def test_the_least_probable_classes_come_first():
    found = judgments(
        {
            "label": np.ones(3, np.int8),
            "defect": np.array(["crack", "hole", "crack"]),
            "class": np.array(["crack", "hole"]),
            "probability": np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]], np.float32),
        }
    )
    assert [judgment.index for judgment in found] == [1, 2, 0]
    assert found[0].words == "mistaken for crack (70%)"
    assert found[2].words == "recognised as crack (90%)"
    assert [judgment.mistaken for judgment in found] == [True, True, False]
