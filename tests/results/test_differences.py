from __future__ import annotations

from dataclasses import replace

from adbench_harness.results.differences import (
    changed_materials,
    changed_values,
    changed_versions,
    components,
)
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial, Weights

INNER = Choice("inner", 1, {"size": 3}).plain()
OLD = Trial(
    dataset=Choice("data", 1),
    category="one",
    fingerprint="0123456789",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(Choice("mean", 1, {"size": 11}),),
    augmenter=Choice("square", 1),
    model=Choice("model", 1, {"inner": INNER, "table": {"name": "inner"}}),
    scorer=Choice("scorer", 1),
    weights=(Weights("net", 1, None, "abcdefghij"),),
    seed=0,
    evaluation=EvaluationSettings(),
    metrics=("aupro@1", "gone@1"),
    auxiliary=(("textures", "aaaa"),),
)


def test_a_trial_does_not_differ_from_itself() -> None:
    assert [choice.name for choice in components(OLD)] == [
        *("data", "mean", "square", "model", "scorer")
    ]
    for changed in (changed_values, changed_versions, changed_materials):
        assert list(changed(OLD, OLD)) == []


def test_each_kind_of_difference_has_its_own_words() -> None:
    inner = Choice("inner", 2, {"size": 5}).plain()
    new = replace(
        OLD,
        fingerprint="9876543210",
        preprocessors=(Choice("mean", 1, {"size": 9, "added": 1}),),
        model=Choice("model", 1, {"inner": inner, "table": {"name": "other"}}),
        weights=(Weights("net", 2, None, "klmnopqrst"),),
        evaluation=EvaluationSettings(size=64),
        metrics=("aupro@2", "added@1"),
        auxiliary=(("textures", "bbbb"),),
    )
    assert list(changed_materials(OLD, new)) == [
        "images of data/one: 01234567 → 98765432",
        "images of textures: aaaa → bbbb",
        "weights of net: abcdefgh → klmnopqr",
    ]
    assert list(changed_versions(OLD, new)) == [
        *("version of inner: 1 → 2", "version of net: 1 → 2", "version of aupro: 1 → 2")
    ]
    found = list(changed_values(OLD, new))
    assert found[0] == "size of mean: 11 → 9"
    assert found[1].startswith("table of model: ")
    assert found[2:] == ["size of inner: 3 → 5", "evaluation size: none → 64"]
