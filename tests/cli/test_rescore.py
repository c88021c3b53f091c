from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adbench_harness.cli import main
from adbench_harness.images import folders
from adbench_harness.results.store import Store


def results(folder):
    """Those of finished trials, in an order that no protocol changes."""
    found = [result for result in Store(folder).read() if result.status == "ok"]
    return sorted(found, key=lambda result: result.trial.title)


@pytest.fixture
def rescored(toys, tmp_path, capsys):
    """Runs the toys into a folder with ``options``, and rescores them into another."""

    def run(*options, run_with=()):
        models = ("--models", "toy-mean,toy-raises", "--scorers", "toy-map", "--device", "cpu")
        old, new = tmp_path / "old", tmp_path / "new"
        assert main(["run", "--plugins", toys, *models, *run_with, "--out", str(old)]) == 1
        capsys.readouterr()
        arguments = ["rescore", str(old), "--out", str(new), "--plugins", toys, *options]
        assert main(arguments) == 0
        return results(old), results(new), capsys.readouterr()

    return run


def test_the_same_protocol_gives_the_run_again(rescored):
    old, new, said = rescored(run_with=["--keep-maps"])
    assert f"{len(old)} trials rescored" in said.out
    assert not said.err
    for before, after in zip(old, new, strict=True):
        assert after.trial.id == before.trial.id
        assert after.metrics == pytest.approx(before.metrics, abs=1e-4)
        assert (after.flags, after.columns) == (before.flags, before.columns)
        assert after.intervals == before.intervals


def test_another_protocol_is_what_a_run_under_it_gives(rescored, toys, tmp_path):
    settings = ["--eval-size", "20", "--eval-border", "crop"]
    old, new, _ = rescored(*settings, run_with=["--keep-maps"])
    again = tmp_path / "again"
    names = ("--models", "toy-mean", "--scorers", "toy-map", "--device", "cpu")
    assert main(["run", "--plugins", toys, *names, *settings, "--out", str(again)]) == 0
    expected = {result.trial.id: result for result in Store(again).read()}
    assert expected.keys() == {result.trial.id for result in new}
    for result in new:
        for name in ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "aupro_005"):
            value = expected[result.trial.id].metrics[name]
            assert result.metrics[name] == pytest.approx(value, abs=1e-4)
        assert set(expected[result.trial.id].flags) <= set(result.flags)
    assert {result.trial.id for result in old}.isdisjoint(expected)


def test_rescored_results_can_be_rescored(rescored, toys, tmp_path):
    old, _, _ = rescored("--eval-size", "20", run_with=["--keep-maps"])
    back = tmp_path / "back"
    assert main(["rescore", str(tmp_path / "new"), "--out", str(back), "--plugins", toys]) == 0
    for before, after in zip(old, results(back), strict=True):
        assert (before.trial.id, before.flags) == (after.trial.id, after.flags)


def test_without_maps_the_metrics_of_images_remain(rescored):
    old, new, said = rescored("--metrics", "image_ap,pixel_auroc")
    assert f"{len(old)} of {len(old)} trials stored no maps" in said.err
    for before, after in zip(old, new, strict=True):
        assert after.metrics["image_ap"] == before.metrics["image_ap"]
        assert {"image_auroc", "pixel_auroc"}.isdisjoint(after.metrics)
        assert after.metrics["fit_seconds"] == before.metrics["fit_seconds"]


def test_what_cannot_be_rescored_is_refused(rescored, error, toys, tmp_path):
    old = tmp_path / "old"
    rescored(run_with=["--keep-maps"])
    arguments = ("rescore", old, "--plugins", toys, "--out")
    assert "name another" in error(*arguments, old)
    assert "unknown metric 'auroc'" in error(*arguments, tmp_path / "x", "--metrics", "auroc")
    assert "'evaluation.size'" in error(*arguments, tmp_path / "x", "--eval-size", "0")
    assert "no results in 'none'" in error("rescore", "none", "--out", tmp_path / "x")
    built = folders.cache_folder() / "data" / "toy-data"
    changed = Path(shutil.copytree(built, tmp_path / "changed"))
    image = next(changed.rglob("*.png"))
    image.write_bytes(image.read_bytes() + b"\0")
    arguments = (*arguments, tmp_path / "x", "--data", f"toy-data={changed}")
    assert "are not those that the results were measured on" in error(*arguments)
