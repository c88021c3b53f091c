from __future__ import annotations

import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard import render
from adbench_harness.results.trial import SHORTENED
from adbench_harness.types import Reported


def printed(method, category, value, metric="image_auroc", marks=(), categories=1):
    source = f"table 1, {method}"
    return Reported(method, "mini", category, metric, value, source, None, marks, categories)


@pytest.fixture
def reported():
    return [
        printed("Old AE", "brick", 0.9, "pixel_auroc", ("printed-as-image-auroc",)),
        printed("Old AE", "grass", 0.8, "pixel_auroc", ("printed-as-image-auroc", "misprint")),
        printed("Old AE", "mean", 0.86, "pixel_auroc", ("printed-as-image-auroc",), 3),
        printed("Best AE", "brick", 1.0),
        printed("Best AE", "mean", 0.99, categories=3),
        printed("Best AE", "mean", 2.4e7, "params", categories=3),
    ]


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("|") and "|:" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_printed_methods_stand_beside_measured_ones(result, reported):
    text = render([result(0.7)], format="markdown", rows=["category"], reported=reported)
    assert cells(text) == [
        ["category", "patchcore · knn", "Old AE (reported)", "Best AE (reported)"],
        ["brick", "70.0", "90.0‡", "100.0"],
        ["grass", "–", "80.0‡§", "–"],
        ["mean of 2", "–", "86.0‡", "99.0"],
    ]
    assert "‡ printed as image auroc: table 1, Old AE" in text
    assert "§ misprint" in text
    assert "**" not in text  # nothing competes with print


def test_a_printed_mean_stands_below_one_category_that_has_none(result, reported):
    text = render([result(0.7)], format="markdown", rows=["category"], reported=[reported[-2]])
    assert cells(text) == [
        ["category", "patchcore · knn", "Best AE (reported)"],
        ["brick", "70.0", "–"],
        ["mean (reported)", "–", "99.0"],
    ]


def test_a_printed_mean_says_over_how_many_ours_is(result, reported):
    text = render(
        [result({"image_auroc": 0.7, "params": 1e6})],
        format="markdown",
        rows=["method"],
        metrics=["image_auroc", "params"],
        reported=[row for row in reported if row.method == "Best AE"],
    )
    assert cells(text)[1:] == [
        ["patchcore · knn", "70.0 (1/3)", "1.0 M (1/3)"],
        ["Best AE (reported)", "99.0", "24.0 M"],
    ]


def test_a_shortened_schedule_is_left_out(result, reported):
    text = render(
        [result(0.7), result(0.6, model="ours", params={"steps": 3}, flags=(SHORTENED,))],
        format="markdown",
        rows=["category"],
        reported=reported,
    )
    assert "ours" not in text.partition("\n")[0]
    assert "left out next to printed numbers: ours" in text


def test_a_printed_method_without_the_metric_has_no_column_but_a_failed_one_has(result):
    text = render(
        [result(0.7), result(None, model="broken")],
        format="markdown",
        rows=["category"],
        metrics=["image_auroc"],
        reported=[printed("Other", "brick", 0.9, "aupro"), printed("Best AE", "brick", 1.0)],
    )
    header, *rows = cells(text)
    assert header == ["category", "patchcore · knn", "broken · knn", "Best AE (reported)"]
    assert rows[0] == ["brick", "70.0", "–", "100.0"]


def test_reported_needs_rows(result, reported):
    with pytest.raises(UserError, match="--rows"):
        render([result(0.7)], reported=reported)


def test_printed_numbers_may_stand_alone(result, reported):
    text = render(
        [result(0.7, dataset="own")],
        format="markdown",
        rows=["method"],
        metrics=["image_auroc"],
        only={"dataset": "mini"},
        reported=reported,
    )
    assert [row[0] for row in cells(text)[1:]] == ["Old AE (reported)", "Best AE (reported)"]
    assert "as reported" in text
