"""Parameters as axes: rows, columns, selections and the horizontal axis of a plot."""

from __future__ import annotations

import numpy as np
import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard import plot, render
from adbench_harness.results.store import Store

from .test_printed import cells


@pytest.fixture
def results(result):
    gain = {"focused": 0.2, "random": 0.0}
    return [
        result(
            {"accuracy": 0.01 * patches + gain[selection], "flops": 10.0 * patches},
            seed=seed,
            model="afps",
            params={"patches": patches, "selection": selection},
        )
        for patches in (10, 50, 9)
        for selection in gain
        for seed in (0, 1)
    ]


def test_rows_and_columns_may_be_parameters(results):
    text = render(results, format="markdown", rows=["patches"], columns="selection")
    assert cells(text) == [
        ["patches", "focused", "random"],
        ["9", "**29.0 ± 0.0**", "9.0 ± 0.0"],
        ["10", "**30.0 ± 0.0**", "10.0 ± 0.0"],
        ["50", "**70.0 ± 0.0**", "50.0 ± 0.0"],
    ]
    assert "model afps · " in text


def test_a_column_a_metric(results):
    text = render(
        results,
        format="markdown",
        rows=["patches", "selection"],
        metrics=["accuracy", "flops"],
        only={"selection": "focused"},
    )
    assert cells(text) == [
        ["patches", "selection", "accuracy ↑", "FLOPs ↓"],
        ["9", "focused", "29.0 ± 0.0", "**90**"],
        ["10", "focused", "30.0 ± 0.0", "100"],
        ["50", "focused", "**70.0 ± 0.0**", "500"],
    ]


def test_csv_of_several_metrics(results):
    text = render(results, format="csv", rows=["patches"], metrics=["accuracy", "flops"],
                  only={"selection": "random"})  # fmt: skip
    assert text.splitlines()[0] == "patches,accuracy,flops"
    assert {line.split(",")[0] for line in text.splitlines()[1:]} == {"9", "10", "50"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rows": ["colour"]}, "no axis 'colour'.*patches, selection"),
        (
            {"rows": ["patches"], "only": {"selection": "none"}},
            "no result has this selection",
        ),
        ({"rows": ["patches"]}, "would average over model"),
        ({"rows": ["patches"], "metrics": ["a", "b"]}, "no result has the metric 'a'"),
        (
            {"rows": ["patches"], "columns": "selection", "metrics": ["accuracy", "flops"]},
            "one metric",
        ),
    ],
)
def test_mistakes(results, asked, message):
    if asked == {"rows": ["patches"]}:
        asked = {"rows": ["patches"], "columns": "category"}
    with pytest.raises(UserError, match=message):
        render(results, **asked)


@pytest.fixture
def store(tmp_path, results):
    found = Store(tmp_path / "results")
    for number, one in enumerate(results):
        curve = np.linspace(1, 0.1, 20 + number)
        found.write(type(one)(**{**vars(one), "curves": {"loss": curve}}))
    return found


def test_a_sweep_is_the_same_file_for_the_same_numbers(store, tmp_path):
    for name in ("a.svg", "b.svg"):
        title = plot.sweep(store, tmp_path / name, x="patches", by=["selection"])
    assert title == "accuracy by patches"
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_curves_of_trainings(store, tmp_path):
    assert plot.curves(store, tmp_path / "c.png", by=["patches"]) == "loss during training"
    assert (tmp_path / "c.png").stat().st_size > 1000
    with pytest.raises(UserError, match="curve nothing"):
        plot.curves(store, tmp_path / "c.png", by=["patches"], names=["nothing"])
    with pytest.raises(UserError, match="cannot be drawn"):
        plot.curves(store, tmp_path / "c.what", by=["patches"])
