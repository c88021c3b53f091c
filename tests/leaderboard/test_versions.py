from __future__ import annotations

from dataclasses import replace

import pytest

from adbench_harness.leaderboard.versions import image_versions, metric_versions


def test_one_set_of_images_needs_no_name(result):
    rows = [result(0.9, category=c, fingerprint=c * 16) for c in "ab"]
    assert image_versions(rows) == ["", ""]


def test_categories_that_did_not_change_belong_to_the_last_version(result):
    rows = [
        result(0.9, category="a", fingerprint="1" * 16, finished="2025-01-01"),
        result(0.9, category="b", fingerprint="9" * 16, finished="2025-01-01"),
        result(0.9, category="a", fingerprint="2" * 16, finished="2025-01-02"),
    ]
    assert image_versions(rows) == ["images 11111111", "images 22222222", "images 22222222"]


def test_the_versions_of_several_categories_go_together(result):
    rows = [
        result(0.9, category=c, fingerprint=f"{c}{n}" * 8, finished=f"2025-01-0{n}")
        for n in (1, 2)
        for c in "ab"
    ]
    old, old_b, new, new_b = image_versions(rows)
    assert old == old_b != new == new_b


@pytest.mark.parametrize("change", [{"split_seed": 1}, {"protocol": "zero-shot"}])
def test_another_split_is_not_another_set_of_images(result, change):
    rows = [result(0.9, fingerprint="1" * 16), result(0.9, fingerprint="2" * 16, **change)]
    assert image_versions(rows) == ["", ""]


def of_split(result, seed, fingerprint, unsplit=None, model="a"):
    made = result(0.9, split_seed=seed, fingerprint=fingerprint * 16, model=model)
    recorded = {} if unsplit is None else {"unsplit": unsplit * 16}
    finished = f"2025-01-0{seed + 1}"
    return replace(made, provenance={**made.provenance, "finished": finished, **recorded})


def test_splits_of_the_same_images_are_one_set(result):
    rows = [of_split(result, 0, "1"), of_split(result, 1, "2", "1"), of_split(result, 2, "3", "1")]
    assert image_versions(rows) == ["", "", ""]


def test_splits_of_different_images_are_told_apart(result):
    rows = [of_split(result, 0, "1"), of_split(result, 1, "2", "1"), of_split(result, 2, "3", "9")]
    assert image_versions(rows) == ["images 11111111", "images 11111111", "images 99999999"]
    assert image_versions(rows[1:]) == ["images 11111111", "images 99999999"]


def test_results_that_do_not_record_what_was_split_are_compared_within_their_split(result):
    old = of_split(result, 1, "2")
    assert image_versions([of_split(result, 0, "1"), old]) == ["", ""]
    assert image_versions([old, of_split(result, 1, "3", model="b")]) == [
        "images 22222222",
        "images 33333333",
    ]
    # A newer result of the same split tells which images they were.
    new = of_split(result, 1, "2", "1", model="b")
    other = of_split(result, 2, "3", "9")
    assert image_versions([old, new, other]) == [
        "images 11111111",
        "images 11111111",
        "images 99999999",
    ]
    assert image_versions([old, of_split(result, 1, "3", "9", model="b")]) == [
        "images 22222222",
        "images 99999999",
    ]


def test_a_trial_that_was_never_planned_is_in_the_last_version(result):
    rows = [
        result(0.9, fingerprint="1" * 16, finished="2025-01-01"),
        result(0.9, fingerprint="2" * 16, finished="2025-01-02", model="b"),
        result(None, fingerprint="", finished="2025-01-03", model="c"),
    ]
    assert image_versions(rows)[2] == "images 22222222"


def test_only_metrics_of_several_versions_are_named(result):
    trial = result(0.9).trial
    trials = [
        replace(trial, metrics=metrics)
        for metrics in (("a@1", "b@1"), ("a@2", "b@1"), ("b@1", "c@1"))
    ]
    assert list(metric_versions(trials)) == [("a v1",), ("a v2",), ("",)]
    assert list(metric_versions(trials[:1])) == [()]
