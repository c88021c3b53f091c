from __future__ import annotations

import pandas as pd
import pytest

from adbench_harness.leaderboard.columns import Column
from adbench_harness.leaderboard.frame import Summary
from adbench_harness.report.tradeoff import Point, tradeoff

COLUMNS = {
    "image_auroc": Column("image AUROC"),
    "own": Column("own"),
    "flops": Column("FLOPs", "count", False),
    "ms_per_image": Column("ms/image", "ms", False),
}
POINTS = [Point(name, f"rows/{name}.html", "1", name, (name,)) for name in "abc"]


def summary(**change):
    mean = pd.DataFrame(
        {"image_auroc": [0.9, 0.8, 0.7], "own": [1.0, 2, 3], "flops": 5.0, "ms_per_image": 7.0},
        index=list("abc"),
    )
    nothing = mean * 0
    parts = {
        "mean": mean,
        "spread": nothing,
        "seen": nothing,
        "total": nothing["own"],
        "whole": mean.notna(),
        "fair": pd.Series([True] * 3, index=list("abc")),
    }
    return Summary(**{**parts, **change})


def values(plot):
    return {row["label"]: row["values"] for row in plot["rows"]}


def test_it_begins_with_what_ranks_against_latency_and_offers_the_rest():
    plot = tradeoff(POINTS, summary(), COLUMNS, "image_auroc")
    assert (plot["x"], plot["y"]) == ("ms_per_image", "image_auroc")
    kinds = {axis["name"]: (axis["group"], axis["higher"]) for axis in plot["axes"]}
    assert kinds["image_auroc"] == ("image", True)
    assert kinds["flops"] == ("cost", False)
    assert list(plot["groups"]) == ["image", "other", "cost"]
    assert values(plot)["b"] == {"image_auroc": 0.8, "own": 2, "flops": 5, "ms_per_image": 7}


def test_what_cannot_be_compared_is_no_number():
    whole = summary().mean.notna()
    whole.loc["a", "own"] = False
    fair = pd.Series([True, True, False], index=list("abc"))
    plot = tradeoff(POINTS, summary(whole=whole, fair=fair), COLUMNS, "image_auroc")
    assert values(plot)["a"]["own"] is None
    assert values(plot)["a"]["image_auroc"] == pytest.approx(0.9)
    assert set(values(plot)["c"].values()) == {None}


def test_without_costs_there_is_no_plot():
    columns = {name: COLUMNS[name] for name in ("image_auroc", "own")}
    assert tradeoff(POINTS, summary(), columns, "image_auroc") is None
