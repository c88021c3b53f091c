from __future__ import annotations

import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.frame import select
from adbench_harness.leaderboard.labels import check_names, relabelled, renamed
from adbench_harness.leaderboard.table import Table


def labels(results, **options):
    trials, lines = relabelled(select(results, (), {}), results, **options)
    return trials["method"].tolist(), lines


def test_what_all_trials_of_a_component_share_is_left_out(result):
    found, lines = labels(
        [
            result(0.9, params={"resize": 224, "ratio": 0.1}),
            result(0.9, params={"resize": 224, "ratio": 0.2}),
            result(0.9, model="padim", params={"dimensions": 64}),
        ]
    )
    assert found == ["patchcore(ratio=0.1) · knn", "patchcore(ratio=0.2) · knn", "padim · knn"]
    assert lines == ["parameters: patchcore(resize=224), padim(dimensions=64)"]


def test_a_default_beside_another_value_is_not_shared(result):
    found, lines = labels([result(0.9), result(0.9, params={"ratio": 0.1})])
    assert found == ["patchcore · knn", "patchcore(ratio=0.1) · knn"]
    assert lines == []


def test_a_suffix_that_tells_versions_apart_stays(result):
    rows = [
        result(0.9, params={"ratio": 0.1}, fingerprint="a" * 16),
        result(0.9, params={"ratio": 0.1}, fingerprint="b" * 16),
    ]
    trials, _ = relabelled(select(rows, (), {}), rows)
    assert trials["dataset"].tolist() == ["mini [images aaaaaaaa]", "mini [images bbbbbbbb]"]
    assert trials["model"].tolist() == ["patchcore"] * 2


def test_names_replace_components_and_whole_labels(result):
    rows = [result(0.9, preprocessors=("mean", "blur")), result(0.9, params={"ratio": 0.1})]
    names = {"mean": "Mean filter", "patchcore(ratio=0.1)": "PatchCore-10%", "embedded": "wavelets"}
    trials, _ = relabelled(select(rows, (), {}), rows, names=names)
    assert trials["preprocessor"].tolist() == ["Mean filter+blur", "none"]
    assert trials["model"].tolist() == ["patchcore", "PatchCore-10%"]
    assert trials["backbone"].tolist() == ["wavelets"] * 2
    table = Table(["method", "a · b"], [["a · b", "a · b"]], labels=1)
    assert renamed(table, {"a · b": "AB"}).rows == [["AB", "a · b"]], "numbers stay"


def test_a_name_of_nothing_is_refused(result):
    check_names(["patchcore · knn", "embedded"], [result(0.9)])
    with pytest.raises(UserError, match=r"no result has 'patchcor' .did you mean 'patchcore'"):
        check_names(["patchcor"], [result(0.9)])


def test_one_name_of_two_labels_is_refused(result):
    rows = [result(0.9), result(0.8, params={"ratio": 0.1})]
    trials = select(rows, (), {})
    told = "'PC' would be the name of 'patchcore' and of 'patchcore.ratio=0.1.'"
    with pytest.raises(UserError, match=told):
        relabelled(trials, rows, names={"patchcore(ratio=0.1)": "PC", "patchcore": "PC"})
    with pytest.raises(UserError, match="'patchcore' would be the name of"):
        relabelled(trials, rows, names={"patchcore(ratio=0.1)": "patchcore"})
    table = Table(["method", "AUROC"], [["a", "1"], ["b", "2"]], labels=1)
    with pytest.raises(UserError, match="'b' would be the name of 'a' and of 'b'"):
        renamed(table, {"a": "b"})
