from __future__ import annotations

import pytest

from adbench_harness.leaderboard.board import board
from adbench_harness.leaderboard.columns import headings
from adbench_harness.leaderboard.frame import frame
from adbench_harness.results.store import Heading


def table(results, metric=None, *, per_category=False, **own):
    known = headings(results) | own
    return board(frame(results), metric, known, per_category=per_category)


def column(shown, header):
    return [row[shown.headers.index(header)] for row in shown.rows]


def best(shown, header):
    return sorted(i for i, j in shown.best if j == shown.headers.index(header))


def test_rows_are_ranked_and_ties_share_place_and_mark(result):
    scores = {"a": 0.5, "b": 0.9811, "c": 0.9809, "d": 0.7}
    shown = table([result(value, model=name) for name, value in scores.items()])
    assert shown.headers == ["#", "model", "image AUROC ↑"]
    assert shown.rows == [
        ["1", "b", "98.1"],
        ["1", "c", "98.1"],
        ["3", "d", "70.0"],
        ["4", "a", "50.0"],
    ]
    assert best(shown, "image AUROC ↑") == [0, 1]


def test_seeds_then_categories_are_averaged(result):
    values = {("brick", 0): 0.90, ("brick", 1): 0.92, ("grass", 0): 0.80, ("grass", 1): 0.86}
    shown = table([result(v, category=c, seed=s) for (c, s), v in values.items()])
    # Seed means 0.85 and 0.89: their sample deviation is 0.0283.
    assert column(shown, "image AUROC ↑") == ["87.0 ± 2.8"]
    assert "2 categories" in shown.caption
    assert "2 seeds" in shown.caption


def test_a_seed_that_lacks_a_category_has_no_part_in_the_spread(result):
    values = {("brick", 0): 0.9, ("brick", 1): 0.5, ("grass", 0): 0.8}
    shown = table([result(v, category=c, seed=s) for (c, s), v in values.items()])
    assert column(shown, "image AUROC ↑") == ["75.0"]


def test_incomplete_rows_come_below_with_their_count(result):
    shown = table(
        [
            *(result(0.6, model="whole", category=c) for c in "abc"),
            *(result(0.8, model="two", category=c) for c in "ab"),
            result(None, model="two", category="c"),
            result(0.9, model="one", category="a"),
            result(None, model="none", category="a"),
        ]
    )
    assert [row[:2] for row in shown.rows] == [
        ["1", "whole"],
        ["–", "two"],
        ["–", "one"],
        ["–", "none"],
    ]
    assert shown.notes == [
        "(1/3): the mean of 1 of 3 categories; rows that lack a category are not ranked"
    ]
    assert column(shown, "image AUROC ↑") == ["60.0", "80.0 (2/3)", "90.0 (1/3)", "–"]
    assert column(shown, "failed") == ["0", "1", "0", "1"]
    assert best(shown, "image AUROC ↑") == []


@pytest.mark.parametrize("flag", ["test-selected", "transductive"])
def test_what_looked_at_the_test_part_is_not_ranked(result, flag):
    shown = table(
        [
            result(0.6, model="a"),
            result(0.5, model="b"),
            result(0.9, model="cheat", flags=("other", flag)),
        ]
    )
    assert [row[:2] for row in shown.rows] == [["1", "a"], ["2", "b"], ["–", "cheat"]]
    assert best(shown, "image AUROC ↑") == [0]


def test_each_data_set_is_ranked_for_itself_by_what_it_has(result):
    shown = table(
        [
            result(0.6, model="a"),
            result(0.7, model="b"),
            result({"accuracy": 0.9}, dataset="wafers", model="a"),
            result({"accuracy": 0.8}, dataset="wafers", model="b"),
        ]
    )
    assert [row[:3] for row in shown.rows] == [
        ["1", "mini", "b"],
        ["2", "mini", "a"],
        ["1", "wafers", "a"],
        ["2", "wafers", "b"],
    ]
    assert shown.sections == {0, 2}
    assert best(shown, "image AUROC ↑") == [0]
    assert best(shown, "accuracy ↑") == [2]


def test_per_category_ranks_each(result):
    values = {("a", "brick"): 0.6, ("b", "brick"): 0.7, ("a", "grass"): 0.9, ("b", "grass"): 0.8}
    shown = table(
        [result(v, model=m, category=c) for (m, c), v in values.items()], per_category=True
    )
    assert [row[:3] for row in shown.rows] == [
        ["1", "brick", "b"],
        ["2", "brick", "a"],
        ["1", "grass", "a"],
        ["2", "grass", "b"],
    ]


def test_metric_and_direction_decide_the_order(result):
    results = [
        result({"image_auroc": 0.5, "ms_per_image": 12.34, "loss": 0.1}, model="a"),
        result({"image_auroc": 0.6, "ms_per_image": 123.4, "loss": 0.2}, model="b"),
    ]
    by_time = table(results, "ms_per_image")
    assert column(by_time, "model") == ["a", "b"]
    assert column(by_time, "ms/image ↓") == ["12.3", "123"]
    assert column(table(results, "loss"), "model") == ["b", "a"]
    by_loss = table(results, "loss", loss=Heading("loss", "", higher_is_better=False))
    assert column(by_loss, "loss ↓") == ["0.100", "0.200"]
    assert best(by_loss, "loss ↓") == [0]


def test_costs_read_like_the_papers(result):
    costs = {
        "params": 24_900_000,
        "flops": 11_400_000_000,
        "fit_seconds": 3.14159,
        "ms_per_image": 45.67,
        "peak_mb": 1536.4,
    }
    shown = table([result(costs)])
    assert shown.rows[0][2:] == ["24.9 M", "11.4 G", "3.14", "45.7", "1536"]


def test_constant_axes_go_to_the_caption(result):
    shown = table([result(0.5, category="brick"), result(0.6, category="grass")])
    assert shown.headers == ["#", "model", "image AUROC ↑"]
    assert shown.caption == (
        "dataset mini · 2 categories · scorer knn · backbone embedded · cpu · 1 seed · scores in %"
    )
    varied = table([result(0.5), result(0.6, preprocessors=("bgfilter",)), result(0.6, seed=1)])
    assert varied.headers == ["#", "preprocessor", "seeds", "image AUROC ↑"]
