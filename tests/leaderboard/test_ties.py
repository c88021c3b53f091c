"""Ranks and sentences: what a board says of rows that a test can, or cannot, tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adbench_harness.leaderboard import render
from adbench_harness.leaderboard.board import board
from adbench_harness.leaderboard.columns import headings
from adbench_harness.leaderboard.frame import frame
from adbench_harness.metrics.ranking import Ranking
from adbench_harness.results.store import Store
from adbench_harness.statistics import delong

LABELS = (np.arange(120) < 70).astype("i1")


def scores(shift, seed=0, *, noise=1.0):
    """An image's own difficulty is common to all methods."""
    common = np.random.default_rng(99).normal(size=120)
    own = np.random.default_rng(seed).normal(size=120)
    return (common + noise * own + shift * LABELS).astype("f4")


@pytest.fixture
def scored(result):
    """A result with scores by image, its image AUROC and the interval of that."""

    def make(values, **axes):
        value = Ranking.of_images(values, LABELS == 1).auroc()
        low, high = delong.interval(values, LABELS == 1)
        paths = np.array([f"{i:03}.png" for i in range(120)])
        return replace(
            result(value, **axes),
            intervals={"image_auroc": (low, high)},
            images={"path": paths, "defect": paths, "label": LABELS, "score": values},
        )

    return make


def table(results, metric=None, **options):
    return board(
        frame(results),
        metric,
        headings(results),
        images=lambda place: results[place].images,
        **{"per_category": False, **options},
    )


def ranks(shown):
    return {row[1]: row[0] for row in shown.rows}


def test_rows_of_one_category_are_told_apart_by_their_images(scored):
    shown = table(
        [
            scored(scores(3.0, 1), model="good"),
            scored(scores(2.9, 2), model="as-good"),
            scored(scores(0.3, 3), model="poor"),
        ]
    )
    assert ranks(shown) == {"good": "1", "as-good": "1", "poor": "3"}
    (note,) = shown.notes
    assert note.endswith(
        " are a tie at 95% (image AUROC; paired DeLong tests on the same images, Holm)"
    )
    assert "poor" not in note


def test_a_row_without_what_others_add_is_named_none(scored):
    with_and_without = [scored(scores(3.0, 1), preprocessors=("mean",)), scored(scores(2.9, 2))]
    (note,) = table(with_and_without).notes
    assert note.startswith(("mean and none are a tie at 95%", "none and mean are a tie at 95%"))


def test_the_best_is_said_to_be_better(scored):
    shown = table([scored(scores(3, 1), model="a"), scored(scores(0.3, 3), model="b")])
    assert ranks(shown) == {"a": "1", "b": "2"}
    assert shown.notes[0].startswith("a is better than b at 95% (")


def test_at_auroc_1_nothing_is_decided(scored):
    shown = table([scored(LABELS + 0.0, model="a"), scored(scores(0.3, 3), model="b")])
    assert shown.notes[0].startswith(
        "at AUROC 100 the test cannot compare a with others; ranks follow the numbers ("
    )
    assert shown.notes[1] == (
        "95% CI –: it cannot be estimated at AUROC 100 or 0, or from equal scores"
    )
    assert ranks(shown) == {"a": "1", "b": "2"}  # by what they look like
    assert shown.rows[0][shown.headers.index("95% CI")] == "–"


def test_a_metric_without_a_test_on_one_category_says_so(result):
    shown = table([result({"accuracy": v}, model=m) for m, v in (("a", 0.9), ("b", 0.8))])
    assert ranks(shown) == {"a": "1", "b": "2"}
    assert shown.notes == [
        (
            "accuracy: no test says which rows differ on one category; ranks follow the numbers, "
            "not a test"
        )
    ]
    assert table([result({"accuracy": 0.9})]).notes == [], "one row is ranked by nothing"


def test_seeds_are_averaged_and_add_no_certainty(scored):
    pair = [(scores(2.0, 1), "a"), (scores(1.6, 2), "b")]
    once = table([scored(values, model=model) for values, model in pair])
    often = table([scored(v, model=m, seed=s) for v, m in pair for s in range(20)])
    assert once.notes == often.notes
    assert ranks(once) == ranks(often) == {"a": "1", "b": "1"}


@pytest.mark.parametrize("change", ["path", "label", "score"])
def test_without_the_same_images_nothing_is_claimed(scored, change):
    one, other = scored(scores(3, 1), model="a"), scored(scores(0.3, 3), model="b")
    images = dict(other.images)
    if change == "score":
        del images["score"]
    else:
        images[change] = images[change][::-1]
    shown = table([one, replace(other, images=images)])
    assert shown.notes == [
        (
            "image AUROC: no test says which rows differ, since some lack scores of the same "
            "images; ranks follow the numbers, not a test"
        )
    ]
    assert ranks(shown) == {"a": "1", "b": "2"}


def test_categories_are_the_sample_where_there_are_enough(result):
    rng = np.random.default_rng(0)
    values = {
        (model, c): base + spread * rng.normal()
        for c in "abcdefghijkl"
        for model, base, spread in (("a", 0.95, 0.01), ("b", 0.945, 0.01), ("c", 0.6, 0.02))
    }
    shown = table([result(v, model=m, category=c) for (m, c), v in values.items()])
    assert ranks(shown)["c"] == "3"
    assert sorted(ranks(shown).values()) == ["1", "1", "3"]
    assert "are a tie at 95%" in shown.notes[0]
    assert "Wilcoxon signed-rank tests over 12 categories, Holm" in shown.notes[0]
    few = {(m, c): v for (m, c), v in values.items() if c in "abcde"}
    shown = table([result(v, model=m, category=c) for (m, c), v in few.items()])
    assert shown.notes == [
        (
            "image AUROC: 5 categories are too few to say which of 3 rows differ (7 needed); ranks "
            "follow the numbers, not a test"
        )
    ]


def test_a_better_row_may_have_the_lower_number(result):
    values = {"fast": 0.1, "slow": 5.0}
    shown = table(
        [
            result({"fit_seconds": v + 0.01 * i}, model=m, category=c)
            for m, v in values.items()
            for i, c in enumerate("abcdef")
        ],
        "fit_seconds",
    )
    assert ranks(shown) == {"fast": "1", "slow": "2"}
    assert shown.notes[0].startswith("fast is better than slow at 95% (fit s; Wilcoxon")


def test_incomplete_rows_take_no_part(scored):
    shown = table(
        [
            *(scored(scores(2, i), model="whole", category=c) for i, c in enumerate("ab")),
            scored(scores(5), model="half", category="a"),
        ]
    )
    assert list(shown.notes) == [
        "(1/2): the mean of 1 of 2 categories; rows that lack a category are not ranked",
        "95% CI –: a row that lacks a category has none",
    ]
    assert [row[0] for row in shown.rows] == ["1", "–"]


def test_only_rows_that_look_the_same_are_undecided_at_auroc_1(scored):
    perfect = [scored(LABELS + 0.0, model=model) for model in "abc"]
    shown = table([*perfect, scored(scores(0.3, 3), model="poor")])
    assert shown.notes[0].startswith(
        "at AUROC 100 the test cannot decide between a, b and c; ranks follow the numbers ("
    )
    assert ranks(shown) == {"a": "1", "b": "1", "c": "1", "poor": "4"}


def test_a_dash_for_an_interval_has_its_reason(scored):
    few = replace(scored(scores(2), model="few"), intervals={})
    shown = table([scored(scores(1), model="many"), few])
    assert "95% CI –: it needs at least two test images of each kind" in shown.notes
    text = replace(shown, optional=[shown.headers.index("95% CI")]).terminal(20, color=False)
    assert "95% CI" not in text, "the reason goes with its column"


def test_sections_are_named_and_many_names_are_counted(scored):
    results = [
        scored(scores(3, i), model=f"m{i}", category=c) for i in range(6) for c in ("x", "y")
    ]
    shown = table(results, per_category=True)
    assert [note.partition(": ")[0] for note in shown.notes] == ["mini/x", "mini/y"]
    assert "and 4 others are a tie at 95%" in shown.notes[0]
    crowd = [scored(scores(3, i), model=f"m{i}") for i in range(101)]
    assert (
        table(crowd)
        .notes[0]
        .startswith(
            "image AUROC: 101 rows are too many to test every pair; ranks follow the numbers"
        )
    )


def test_intervals_are_those_of_the_mean_over_categories(scored):
    results = [scored(scores(2, i), model="a", category=c) for i, c in enumerate("abcd")]
    shown = table(results)
    text = shown.rows[0][shown.headers.index("95% CI")]
    low, high = (float(end) for end in text.split("–"))
    errors = [
        delong.covariance([delong.Placements.of(r.images["score"], LABELS == 1)])[0, 0]
        for r in results
    ]
    reach = 100 * 1.959964 * np.sqrt(sum(errors)) / 4
    mean = 100 * np.mean([r.metrics["image_auroc"] for r in results])
    assert (low, high) == pytest.approx((mean - reach, mean + reach), abs=0.06)
    again = table([r for r in results for _ in range(3)][:12])
    assert again.rows[0][again.headers.index("95% CI")] == text
    old = table([replace(results[0], intervals={}), *results[1:]])
    assert "95% CI" not in old.headers


def test_a_stored_board_says_it_too(scored, tmp_path):
    store = Store(tmp_path)
    for number, name in enumerate(("a", "b")):
        store.write(scored(scores(3 - 2.7 * number, number), model=name))
    text = render(store.read(), store=tmp_path, width=200)
    assert "a is better than b at 95%" in text
    assert "95% CI" in text
