from __future__ import annotations

import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard import render
from adbench_harness.leaderboard.frame import frame
from adbench_harness.leaderboard.pivot import grid, listing, pivot
from adbench_harness.results.trial import EvaluationSettings


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


def test_what_lacks_a_row_has_no_mean(result):
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
        ["mean of 2", "60.0", "–"],
    ]
    assert shown.best == {(0, 2)}


def test_a_cell_that_lacks_categories_is_explained_and_in_no_mean(result):
    shown = table(
        [
            *(result(0.6, dataset=d, category=c) for d in ("mini", "own") for c in ("x", "y")),
            *(result(0.8, model="b", dataset="mini", category=c) for c in ("x", "y")),
            result(0.9, model="b", dataset="own", category="x"),
        ],
        "dataset",
        "model",
    )
    assert [row[1] for row in shown.rows] == ["80.0", "90.0 (1/2)", "–"]
    assert shown.notes == ["(1/2): the mean of 1 of 2 categories"]


def test_what_nothing_has_is_in_no_mean_and_one_number_has_none(result):
    results = [
        *(result({"pixel_auroc": 0.6}, model="a", category=c) for c in ("brick", "grass")),
        *(result({"image_auroc": 0.9}, model=m, category="metal") for m in "ab"),
    ]
    shown = table(results, "category", "model", "pixel_auroc")
    assert [row[0] for row in shown.rows] == ["brick", "grass", "metal", "mean of 2"]
    assert [row[1] for row in shown.rows] == ["60.0", "60.0", "–", "60.0"]
    shown = table(results, "category", "model", "image_auroc")
    assert [row[0] for row in shown.rows] == ["brick", "grass", "metal"]
    shown = table(results[2:], "model", "category", "image_auroc")
    assert shown.headers == ["model", "metal"]


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
    assert shown.best == {(0, 2)}
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


def on_two(result):
    """Two methods, of which the second is better, with two evaluation sizes."""
    sizes = (EvaluationSettings(), EvaluationSettings(size=128))
    return [
        result(value + i / 100, model=model, category=category, evaluation=size)
        for i, size in enumerate(sizes)
        for model, value in (("a", 0.8), ("b", 0.9))
        for category in ("brick", "grass")
    ]


def test_methods_on_other_settings_are_sections(result):
    shown = table(on_two(result), "method", "category")
    assert shown.headers == ["dataset", "method", "brick", "grass", "mean of 2"]
    assert [row[:3] for row in shown.rows] == [
        ["mini [maps scored at 128 px]", "b · knn", "91.0"],
        ["mini [maps scored at 128 px]", "a · knn", "81.0"],
        ["mini [maps scored at full size]", "b · knn", "90.0"],
        ["mini [maps scored at full size]", "a · knn", "80.0"],
    ]
    assert shown.labels == 2
    assert shown.sections == {2}
    assert shown.best == {(i, j) for i in (0, 2) for j in (2, 3, 4)}
    assert shown.latex().count(r"\midrule") == 2  # below the headers, and between the sections


def test_methods_on_other_settings_are_sections_of_several_metrics(result):
    text = render(on_two(result), rows=["method"], metrics=["image_auroc"], all=True)
    lines = [line for line in text.splitlines() if line.startswith("mini")]
    assert [line.split("]")[1].split() for line in lines] == [
        *(["b", "·", "knn", "*91.0"], ["a", "·", "knn", "81.0"]),
        *(["b", "·", "knn", "*90.0"], ["a", "·", "knn", "80.0"]),
    ]
    assert text.splitlines()[5] == ""


def test_rows_of_data_sets_follow_one_another(result):
    """Whatever the order of the axes, and although no axis names the data set."""
    results = [
        result(0.9, dataset=dataset, category=dataset[0], model=model)
        for dataset in ("y", "x")
        for model in ("b", "a")
    ]
    by_model = listing(frame(results), ["model", "dataset"], ["image_auroc"], {})
    assert [row[:2] for row in by_model.rows] == [["a", "x"], ["b", "x"], ["a", "y"], ["b", "y"]]
    assert by_model.sections == {2}
    by_category = listing(frame(results[::2]), ["category"], ["image_auroc"], {})
    assert [row[:2] for row in by_category.rows] == [["x", "x"], ["y", "y"]]
    assert by_category.sections == {1}
    assert not by_category.best


def test_methods_on_several_data_sets_are_columns_next_to_their_rivals(result):
    values = {("x", "a"): 0.7, ("y", "a"): 0.95, ("x", "b"): 0.8, ("y", "b"): 0.9}
    shown = table(
        [result(v, dataset=d, category=d, model=m) for (d, m), v in values.items()],
        "category",
        "method",
    )
    columns = ["x · b · knn", "x · a · knn", "y · a · knn", "y · b · knn"]
    assert shown.headers == ["dataset", "category", *columns]
    assert shown.rows[0] == ["x", "x", "80.0", "70.0", "–", "–"]
    assert shown.sections == {1, 2}
