from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.choosing import Limits, choose
from adbench_harness.results.store import Store
from adbench_harness.statistics import proportion

HELD_OUT = np.arange(200, dtype=np.float32)  # two of them exceed 197


@pytest.fixture
def chosen(result, tmp_path):
    """The rows that are chosen from trials: (model, AUROC, ms, MB, anomalous scores, more)."""

    def make(*trials, metric=None, only=None, **limits):
        store = Store(tmp_path)
        for model, auroc, ms, mb, scores, *more in trials:
            metrics = {"image_auroc": auroc, "ms_per_image": ms, "peak_mb": mb}
            one = result(metrics, model=model, **(more[0] if more else {}))
            found = scores or [5.0]
            labels = [0] * 4 + [1] * len(found)
            names = [f"brick/{i}.png" for i in range(len(labels))]
            images = {
                "path": np.array(names),
                "defect": np.array(["good" if not label else "spot" for label in labels]),
                "label": np.array(labels, np.int8),
                "score": np.array([1, 2, 3, 4, *found], np.float32),
            }
            if scores is not None:
                images["validation"] = HELD_OUT
            store.write(replace(one, images=images))
        return choose(store, Limits(**limits), metric=metric, only=only or {})

    return make


def titles(table):
    return [row[0] for row in table.rows]


def column(table, name):
    (j,) = [j for j, header in enumerate(table.headers) if header.startswith(name)]
    return [row[j] for row in table.rows]


def test_without_limits_all_rows_are_there_best_first(chosen):
    table = chosen(("a", 0.8, 5.0, 100.0, None), ("b", 0.9, 9.0, 50.0, None))
    assert titles(table) == ["b · knn", "a · knn"]
    assert table.headers[-1] == "Pareto"
    assert not any("recall" in header for header in table.headers)
    assert table.remarks == []


def test_each_row_that_is_left_out_has_its_reasons(chosen):
    table = chosen(
        ("slow", 0.99, 50.1, 100.0, None),
        ("large", 0.98, 20.0, 501.0, None),
        ("both", 0.97, 70.0, 900.0, None),
        ("good", 0.9, 50.0, 500.0, None),
        ms=50,
        mb=500,
    )
    assert titles(table) == ["good · knn"]
    assert sorted(table.remarks) == [
        "left out: both · knn: 70 ms, more than 50, 900 MB, more than 500",
        "left out: large · knn: 501 MB, more than 500",
        "left out: slow · knn: 50.1 ms, more than 50",
    ]


def test_the_front_has_what_nothing_beats_in_score_time_and_memory(chosen):
    table = chosen(
        ("best", 0.99, 50.0, 500.0, None),
        ("fast", 0.9, 5.0, 500.0, None),
        ("small", 0.8, 50.0, 50.0, None),
        ("beaten", 0.8, 6.0, 500.0, None),
    )
    found = dict(zip(titles(table), column(table, "Pareto"), strict=True))
    assert [name for name, on in found.items() if on] == ["best · knn", "fast · knn", "small · knn"]


def test_recall_is_at_the_rate_of_held_out_images(chosen):
    scores = [150.0, 197.5, 198.5, 300.0]  # the threshold is 197 at 1%, 179 at 10%
    trials = ("a", 0.9, 5.0, 100.0, scores), ("b", 0.95, 5.0, 100.0, [500.0] * 4)
    table = chosen(*trials, recall=0.75)
    low, high = (100 * end for end in proportion.interval(0.75, 4))
    assert f"75.0 ({low:.1f}–{high:.1f})" in column(table, "recall at 1%")
    assert any(note.startswith("recall of a · knn: its 95% interval") for note in table.notes)
    table = chosen(*trials, recall=0.76)
    assert titles(table) == ["b · knn"]
    assert table.remarks == ["left out: a · knn: recall 75.0% at 1% false alarms"]
    assert titles(chosen(*trials, recall=0.75, false_alarms=0.1)) == ["b · knn", "a · knn"]


def test_a_rate_that_the_held_out_images_cannot_show_is_said(chosen):
    table = chosen(("a", 0.9, 5.0, 100.0, [500.0]), recall=0.5, false_alarms=0.001)
    assert any(
        note.startswith("recall: 200 held-out normal images cannot show a rate of 0.1%")
        for note in table.notes
    )


def test_rows_without_what_a_limit_needs_are_left_out(chosen):
    table = chosen(
        ("bare", 0.99, 5.0, 100.0, None),
        ("seen", 0.98, 5.0, 100.0, [500.0], {"flags": ("transductive",)}),
        ("a", 0.9, 5.0, 100.0, [500.0]),
        recall=0.9,
    )
    assert titles(table) == ["a · knn"]
    assert sorted(table.remarks) == [
        "left out: bare · knn: no recall, since it held out no normal images (--validation 0.2)",
        "left out: seen · knn: its numbers used the test images",
    ]


def test_a_row_that_lacks_a_category_is_left_out(chosen):
    table = chosen(
        ("half", 0.99, 5.0, 100.0, None),
        ("whole", 0.9, 5.0, 100.0, None),
        ("whole", 0.9, 5.0, 100.0, None, {"category": "grass"}),
    )
    assert titles(table) == ["whole · knn"]
    assert table.remarks == ["left out: half · knn: it lacks a category"]


def test_none_may_be_left(chosen):
    assert chosen(("a", 0.9, 5.0, 100.0, None), ms=1).rows == []


def test_another_metric_may_order_them(chosen):
    trials = ("a", 0.9, 9.0, 10.0, None), ("b", 0.8, 5.0, 100.0, None)
    assert titles(chosen(*trials, metric="ms_per_image")) == ["b · knn", "a · knn"]


def test_several_data_sets_are_refused(chosen):
    trials = ("a", 0.9, 9.0, 10.0, None), ("a", 0.9, 9.0, 10.0, None, {"dataset": "other"})
    with pytest.raises(UserError, match=r"on 2 data sets .*; select one with --only dataset=NAME"):
        chosen(*trials)
    assert len(chosen(*trials, only={"dataset": "other"}).rows) == 1
