from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adbench_harness.leaderboard import render
from adbench_harness.leaderboard.frame import frame
from adbench_harness.leaderboard.notes import image_notes


def test_each_note_is_said_once_with_its_categories(result):
    def noted(category, *notes):
        one = result(0.9, category=category)
        return replace(one, provenance={**one.provenance, "notes": notes})

    results = [noted("grass", "b"), noted("brick", "b", "a"), result(0.9, category="tile")]
    found = list(image_notes(frame(results), results))
    assert found == ["mini/brick: a", "mini/brick, mini/grass: b"]


@pytest.mark.parametrize(
    ("fact", "values", "said"),
    [
        ("run", ("10:00", "11:00"), "in different runs"),
        ("threads", (1, 2), "with different numbers of threads"),
        ("processor", ("a", "b"), "on different processors"),
        ("engine", ("local", "inline"), "by different engines (inline, local)"),
    ],
)
def test_costs_that_were_not_measured_side_by_side_are_named(result, fact, values, said):
    def ran(value, **axes):
        one = result({"image_auroc": 0.9, "peak_mb": 1.0}, **axes)
        return replace(one, provenance={**one.provenance, fact: value})

    def notes(results, **options):
        text = render(results, store=Path(), width=200, **options)
        return [line for line in text.splitlines() if line.startswith("seconds and MB")]

    first, other = values
    apart = [ran(first, model="a"), ran(other, model="b")]
    assert notes(apart) == [f"seconds and MB were measured {said}: compare rows only roughly"]
    assert notes(apart, rows=["method"], metrics=["peak_mb"])
    assert not notes(apart, metrics=["image_auroc"]), "no cost is shown"
    both = [ran(v, model=m, seed=s) for m in "ab" for s, v in enumerate(values)]
    assert not notes(both), "the rows are alike"
    by_category = [
        ran(v, model=m, category=c) for m in "ab" for c, v in zip("xy", values, strict=True)
    ]
    assert not notes(by_category)


@pytest.mark.parametrize(
    "options", [{}, {"rows": ["method"], "metrics": ["peak_mb", "ms_per_image"]}]
)
@pytest.mark.parametrize(
    "facts",
    [
        ({"engine": "local"}, {"engine": "inline"}),
        ({"run": "10:00"}, {"run": "11:00"}),
        ({}, {"engine": "local"}),
    ],
)
def test_memory_of_different_runs_has_no_best(result, facts, options):
    def ran(model, peak, **provenance):
        one = result({"image_auroc": 0.9, "ms_per_image": peak, "peak_mb": peak}, model=model)
        return replace(one, provenance={**one.provenance, **provenance})

    def marked(*results):
        text = render(results, store=Path(), format="markdown", **options)
        return text.count("**7"), text.count("**135")

    first, other = facts
    assert marked(ran("a", 7.0, **first), ran("b", 135.0, **first)) == (2, 0)
    assert marked(ran("a", 7.0, **first), ran("b", 135.0, **other)) == (1, 0), "only the seconds"


def test_a_table_of_the_memory_of_different_runs_has_no_best(result):
    def text(other):
        runs = [("a", "10:00"), ("b", other)]
        results = [
            replace(one, provenance={**one.provenance, "run": run})
            for name, run in runs
            for one in [result({"image_auroc": 0.9, "peak_mb": 7.0}, model=name)]
        ]
        options = {"rows": ["category"], "columns": "method", "metrics": ["peak_mb"]}
        return render(results, store=Path(), format="markdown", **options)

    assert "**7" in text("10:00")
    assert "**7" not in text("11:00")
