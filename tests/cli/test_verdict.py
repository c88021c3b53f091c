from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adbench_harness.cli import main
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")


def test_a_verdict_is_by_the_held_out_images(one, fitted, root, predicted):
    store = Store(fitted)
    result = next(store.read())
    held_out = store.images(result.trial)["validation"]
    rows, said = predicted(fitted, root / result.trial.category / "test", *one(result))
    assert {row["verdict"] for row in rows} == {"normal", "anomalous"}
    for row in rows:
        assert (row["verdict"] == "anomalous") == (float(row["score"]) > held_out.max())
    assert "cannot show a lower rate" in said
    rows, said = predicted(
        fitted, root / result.trial.category / "test", *one(result), "--threshold", "-1000"
    )
    assert {row["verdict"] for row in rows} == {"anomalous"}
    rows, said = predicted(
        fitted, root / result.trial.category / "test", *one(result), "--false-alarms", "0.5"
    )
    level = np.sort(held_out)[::-1][len(held_out) // 2]
    assert f"threshold {level:.6g}: at most 50% of {len(held_out)}" in said
    assert "cannot show" not in said


def test_a_threshold_may_be_chosen_on_the_test_images_and_says_so(one, fitted, root, predicted):
    store = Store(fitted)
    result = next(store.read())
    images = store.images(result.trial)
    paths = [root / path for path in images["path"]]
    rows, said = predicted(fitted, *paths, *one(result), "--threshold", "best-f1")
    assert "the best F1 on the test images, which were used to choose it" in said
    verdicts = [int(row["verdict"] == "anomalous") for row in rows]
    assert f1_score(images["label"], verdicts) == pytest.approx(result.metrics["image_f1"])
    _, said = predicted(fitted, *paths, *one(result), "--threshold", "best", code=2)
    assert "--threshold 'best' is not a score or best-f1" in said


@pytest.mark.parametrize("level", ["nan", "inf", "-inf", "high"])
def test_a_threshold_is_a_number(one, fitted, root, predicted, level):
    result = next(Store(fitted).read())
    folder = root / result.trial.category / "test"
    _, said = predicted(fitted, folder, *one(result), f"--threshold={level}", code=2)
    assert f"--threshold '{level}' is not a score or best-f1" in said


def test_without_held_out_images_there_is_no_verdict(one, root, predicted, tmp_path):
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", TOYS, *options, "--keep-models", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "plain")]) == 0
    result = next(Store(tmp_path / "plain").read())
    folder = root / result.trial.category / "test"
    rows, said = predicted(tmp_path / "plain", folder, *one(result))
    assert {row["verdict"] for row in rows} == {""}
    assert "no verdicts: the run held out no normal images; run with --validation 0.2" in said
    _, said = predicted(tmp_path / "plain", folder, *one(result), "--false-alarms", "0.1", code=2)
    assert "held out no normal images" in said


def test_the_scores_of_another_trial_are_not_taken(one, copied, exchanged, root, predicted):
    result = exchanged("npz")
    folder = root / result.trial.category / "test"
    _, said = predicted(copied, folder, *one(result), code=2)
    assert "it is of another trial" in said
    (copied / "trials" / f"{result.trial.id}.npz").unlink()
    _, said = predicted(copied, folder, *one(result), code=2)
    assert f"{result.trial.id}.npz is missing beside it" in said
