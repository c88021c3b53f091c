from __future__ import annotations

import math

import numpy as np
import pytest

from adbench_harness.leaderboard import columns
from adbench_harness.leaderboard.columns import Column
from adbench_harness.results.store import Heading


@pytest.mark.parametrize(
    ("unit", "value", "spread", "shown"),
    [
        ("%", 0.98149, math.nan, "98.1"),
        ("%", 0.98149, 0.0123, "98.1 ± 1.2"),
        ("", 0.98149, 0.0123, "0.981 ± 0.012"),
        ("count", 999, math.nan, "999"),
        ("count", 24_900_000, 5, "24.9 M"),
        ("count", 1.5e12, math.nan, "1.5 T"),
        ("s", 9.994, 1, "9.99"),
        ("ms", 99.94, math.nan, "99.9"),
        ("MB", 100.4, math.nan, "100"),
    ],
)
def test_how_numbers_read(unit, value, spread, shown) -> None:
    assert Column("title", unit).show(value, spread) == shown


def test_a_header_says_which_direction_is_better() -> None:
    assert Column("AUPRO").header == "AUPRO ↑"
    assert Column("FLOPs", "count", higher_is_better=False).header == "FLOPs ↓"


def test_cells_count_the_categories_where_some_lack() -> None:
    cells = Column("AUPRO").cells([0.5, 0.25, 0.1], [math.nan, 0.01, 0.1], [3, 2, 0], [3, 3, 3])
    assert cells == ["50.0", "25.0 ± 1.0 (2/3)", "–"]


def test_the_best_are_all_that_look_like_the_best_eligible_one() -> None:
    means, everyone = np.array([0.9004, 0.9001, 0.85, 0.99]), np.ones(4, bool)
    assert Column("a").best(means, everyone).tolist() == [False, False, False, True]
    without = np.array([True, True, True, False])
    assert Column("a").best(means, without).tolist() == [True, True, False, False]
    lowest = Column("a", higher_is_better=False)
    assert lowest.best(means, everyone).tolist() == [False, False, True, False]
    assert not Column("a").best(means, np.array([True, False, False, False])).any(), "no contest"


def test_a_metric_that_no_result_has_is_named_by_itself() -> None:
    known = {"image_auroc": Heading("image AUROC")}
    assert columns.column("image_auroc", known).title == "image AUROC"
    assert columns.column("pixel_auroc", known).title == "pixel AUROC"
    assert columns.column("strange", known).title == "strange"


def test_the_metric_that_ranks() -> None:
    assert columns.primary(["aupro", "accuracy", "pixel_auroc"]) == "pixel_auroc"
    assert columns.primary(["aupro", "flops"]) == "aupro"
