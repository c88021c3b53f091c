from __future__ import annotations

import pytest

from adbench_harness.leaderboard.columns import Column
from adbench_harness.report.groups import groups, lead, present

AUROC, MEMORY = Column("image AUROC"), Column("peak MB", "MB", False)


@pytest.mark.parametrize(
    ("metric", "column", "expected"),
    [
        ("image_auroc", AUROC, ["main", "image"]),
        ("image_f1", Column("image F1"), ["image"]),
        ("aupro_005", Column("AUPRO 5%"), ["pixel"]),
        ("macro_recall", Column("macro recall"), ["class"]),
        ("peak_mb", MEMORY, ["main", "cost"]),
        ("own_seconds", Column("own", "s", False), ["cost"]),
        ("own", Column("own"), ["other"]),
    ],
)
def test_a_metric_is_in_the_group_of_its_kind(metric, column, expected):
    assert groups(metric, column, None) == expected


def test_the_metric_that_ranks_is_in_the_main_group():
    assert groups("own", Column("own"), "own") == ["main", "other"]


def test_costs_alone_rank_nothing():
    assert lead([("peak_mb", MEMORY)], None) is None
    assert lead([("peak_mb", MEMORY)], "peak_mb") == "peak_mb"
    assert lead([("own", Column("own")), ("peak_mb", MEMORY)], None) == "own"
    assert lead([("own", Column("own")), ("image_auroc", AUROC)], None) == "image_auroc"
    assert lead([("image_auroc", AUROC)], "pixel_auroc") == "image_auroc"


def test_groups_come_in_the_order_of_a_page():
    assert list(present(["cost", "image", "main"])) == ["main", "image", "cost"]
