from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adbench_harness.leaderboard.columns import Column
from adbench_harness.report.differences import Candidate, differences
from adbench_harness.statistics import delong, significance

AUROC = Column("image AUROC")


def no_images(index):
    raise AssertionError("the images of one category are no sample of several")


def candidates(values, eligible=None):
    """Rows [K, B] of methods by categories, with two seeds each."""
    return [
        Candidate(
            label=f"m{i}",
            name=f"m{i}",
            page=f"rows/m{i}.html",
            trials=pd.DataFrame(
                {
                    "category": [f"c{j}" for j in range(len(row)) for _ in (0, 1)],
                    "image_auroc": np.repeat(row, 2) + np.tile([-0.001, 0.001], len(row)),
                    "intervals": [{"image_auroc": (v - 0.1, v + 0.05)} for v in np.repeat(row, 2)],
                },
                index=[2 * (i * len(row) + j) + seed for j in range(len(row)) for seed in (0, 1)],
            ),
            eligible=True if eligible is None else eligible[i],
        )
        for i, row in enumerate(values)
    ]


def test_over_categories_the_groups_are_those_of_the_boards_test():
    draw = np.random.default_rng(0)
    skill = np.array([0.32, 0.3, 0.02, 0])
    values = 0.4 + skill[:, None] + draw.normal(0, 0.02, (4, 12))
    found = differences(candidates(values), "image_auroc", AUROC, no_images)
    assert found.categories == 12
    assert [row.label for row in found.rows] == ["m0", "m1", "m2", "m3"]
    assert [row.mean for row in found.rows] == pytest.approx(values.mean(axis=1))
    assert found.rows[0].values == pytest.approx({f"c{j}": values[0, j] for j in range(12)})
    expected = stats.rankdata(-values, axis=0).mean(axis=1)
    assert [row.rank for row in found.rows] == pytest.approx(expected)
    assert found.friedman == pytest.approx(significance.friedman(values))
    p = significance.holm(significance.wilcoxon(values))
    assert found.groups == significance.cliques(np.arange(4), p)
    letters = [set(row.letters.split()) for row in found.rows]
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        assert bool(letters[i] & letters[j]) == (p[i, j] >= significance.LEVEL)
    assert "Wilcoxon signed-rank tests over 12 categories" in found.sentence
    assert found.rows[0].interval is None


def test_with_one_category_the_images_are_the_sample():
    draw = np.random.default_rng(1)
    labels = np.repeat([0, 1], 60).astype(np.int8)
    shifts = (3.0, 2.9, 0.5)
    scores = {
        i: (draw.normal(size=120) + shifts[i // 2] * labels).astype(np.float32) for i in range(6)
    }
    paths = np.array([f"{i}.png" for i in range(120)])

    def images(index):
        return {"path": paths, "label": labels, "score": scores[index]}

    placements = [
        delong.Placements.mean(
            [delong.Placements.of(scores[2 * i + seed], labels == 1) for seed in (0, 1)]
        )
        for i in range(3)
    ]
    values = np.array([[each.auroc] for each in placements])
    found = differences(candidates(values), "image_auroc", AUROC, images)
    p = significance.holm(delong.paired(placements))
    assert p[0, 2] < significance.LEVEL <= p[0, 1]
    assert [row.letters for row in found.rows] == ["a", "a", ""]
    assert "DeLong" in found.sentence
    assert found.rows[0].interval == pytest.approx((values[0, 0] - 0.1, values[0, 0] + 0.05))
    assert math.isnan(found.friedman)


def test_too_few_categories_make_no_group_and_say_so():
    found = differences(candidates([[0.9, 0.8], [0.7, 0.6]]), "image_auroc", AUROC, no_images)
    assert "2 categories are too few" in found.sentence
    assert found.groups == []
    assert [row.letters for row in found.rows] == ["", ""]


def test_who_cannot_be_compared_is_left_out_and_named():
    rows = candidates(np.full((3, 2), 0.5), eligible=[True, False, True])
    found = differences(rows, "image_auroc", AUROC, no_images)
    assert [(row.index, row.label) for row in found.rows] == [(0, "m0"), (2, "m2")]
    assert found.left_out == ["m1"]
    alone = differences(rows[:2], "image_auroc", AUROC, no_images)
    assert (alone.rows, alone.left_out, alone.categories) == ([], ["m1"], 0)


def test_at_auroc_1_rows_tie_if_they_look_the_same():
    labels = np.repeat([0, 1], 10).astype(np.int8)
    perfect = labels.astype(np.float32)
    scores = [perfect, perfect, perfect, perfect, np.where(np.arange(20) == 19, -1, perfect)]
    rows = candidates([[1.0], [1.0], [0.9]])
    found = differences(
        rows,
        "image_auroc",
        AUROC,
        lambda index: {"path": labels, "label": labels, "score": [*scores, scores[-1]][index]},
    )
    assert "the test cannot decide" in found.sentence
    assert [row.letters for row in found.rows] == ["a", "a", ""]
