from __future__ import annotations

import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.frame import frame
from adbench_harness.leaderboard.pivot import grid, pivot


def table(results, rows, columns, metric="image_auroc"):
    return pivot(frame(results), rows, columns, metric, {})


def test_categories_by_methods_with_their_mean(result):
    values = {
        ("a", "brick"): 0.9,
        ("a", "grass"): 0.8,
        ("b", "brick"): 0.7,
        ("b", "grass"): 0.8004,
    }
    shown = table(
        [result(v, model=m, category=c) for (m, c), v in values.items()], "category", "method"
    )
    assert shown.headers == ["category", "a · knn", "b · knn"]
    assert shown.rows == [
        ["brick", "90.0", "70.0"],
        ["grass", "80.0", "80.0"],
        ["mean of 2", "85.0", "75.0"],
    ]
    assert shown.best == {(0, 1), (1, 1), (1, 2), (2, 1)}
    assert shown.sections == {2}  # the mean stands apart


def test_methods_by_categories_compete_down_the_columns(result):
    values = {("a", "brick"): 0.9, ("a", "grass"): 0.6, ("b", "brick"): 0.7, ("b", "grass"): 0.8}
    shown = table(
        [result(v, model=m, category=c) for (m, c), v in values.items()], "model", "category"
    )
    assert shown.headers == ["model", "brick", "grass", "mean of 2"]
    assert shown.rows == [["a", "90.0", "60.0", "75.0"], ["b", "70.0", "80.0", "75.0"]]
    assert shown.best == {(0, 1), (1, 2), (0, 3), (1, 3)}
    assert shown.sections == set()
    without_mean = table([result(0.9), result(0.8, scorer="max")], "scorer", "model")
    assert without_mean.rows == [["knn", "90.0"], ["max", "80.0"]]
    assert without_mean.sections == set()


def test_a_mean_that_lacks_a_row_says_so_and_is_not_best(result):
    shown = table(
        [
            *(result(0.6, model="a", category=c) for c in ("brick", "grass")),
            result(0.9, model="b", category="brick"),
            result(None, model="b", category="grass"),
        ],
        "category",
        "model",
    )
    assert shown.rows == [
        ["brick", "60.0", "90.0"],
        ["grass", "60.0", "–"],
        ["mean of 2", "60.0", "90.0 (1/2)"],
    ]
    assert shown.best == {(0, 2)}


def test_a_cell_that_lacks_categories_stays_out_of_the_mean(result):
    shown = table(
        [
            *(result(0.6, dataset=d, category=c) for d in ("mini", "own") for c in ("x", "y")),
            *(result(0.8, model="b", dataset="mini", category=c) for c in ("x", "y")),
            result(0.9, model="b", dataset="own", category="x"),
        ],
        "dataset",
        "model",
    )
    assert [row[1] for row in shown.rows] == ["80.0", "90.0 (1/2)", "80.0 (1/2)"]


def test_seeds_spread(result):
    shown = table([result(0.8), result(0.9, seed=1), result(0.5, model="b")], "category", "model")
    assert shown.rows[0] == ["brick", "50.0", "85.0 ± 7.1"]
    by_seed = table([result(0.8), result(0.9, seed=1)], "seed", "model")
    assert by_seed.rows == [["0", "80.0"], ["1", "90.0"], ["mean of 2", "85.0"]]


def test_what_looked_at_the_test_part_bears_a_dagger(result):
    shown = table(
        [
            result(0.9, model="a", flags=("transductive",)),
            result(0.8, model="b"),
            result(0.7, model="c"),
        ],
        "category",
        "model",
    )
    assert shown.rows[0] == ["brick", "90.0†", "80.0", "70.0"]
    assert shown.rows[1] == ["mean of 1", "90.0†", "80.0", "70.0"]
    assert shown.best == {(0, 2), (1, 2)}
    assert any("†" in note for note in shown.notes)


def test_a_cell_never_mixes_combinations(result):
    mixed = frame([result(0.9), result(0.5, preprocessors=("bgfilter",))])
    with pytest.raises(UserError, match=r"average over preprocessor \(bgfilter, none\)"):
        grid(mixed, ["category", "model"])
    assert grid(mixed, ["category", "method"]).mean.shape[0] == 2
    assert grid(mixed, ["preprocessor", "model"]).mean.shape[0] == 2
    # Each model has a scorer of its own, so no cell holds two.
    own = frame([result(0.9, model="a", scorer="x"), result(0.5, model="b", scorer="y")])
    assert grid(own, ["category", "model"]).mean.shape[0] == 2


def test_an_axis_is_used_once(result):
    with pytest.raises(UserError, match="both 'model'"):
        grid(frame([result(0.5)]), ["model", "model"])
