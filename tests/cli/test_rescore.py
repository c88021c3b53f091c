from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adbench_harness.cli import main
from adbench_harness.images import folders
from adbench_harness.results.store import Heading, Store

# It grows with the scores, and so with the toys' gain.
LOWER_IS_BETTER = """
from adbench_harness.types import Metric

def normal_score(evaluation):
    return float(evaluation.scores[evaluation.labels == 0].mean())

@hookimpl
def adbench_metrics():
    return [
        Metric(
            "normal_score",
            "Mean score of the normal images",
            normal_score,
            "image",
            higher_is_better=False,
            unit="",
        )
    ]
"""


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
        assert after.metrics == pytest.approx(before.metrics, abs=1e-9)
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
            assert result.metrics[name] == pytest.approx(value, abs=1e-9)
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
    assert "AP ↑" in said.out, "a metric that was asked for is shown"
    assert f"{len(old)} of {len(old)} trials stored no maps" in said.err
    for before, after in zip(old, new, strict=True):
        assert after.metrics["image_ap"] == before.metrics["image_ap"]
        assert {"image_auroc", "pixel_auroc"}.isdisjoint(after.metrics)
        assert after.metrics["fit_seconds"] == before.metrics["fit_seconds"]


@pytest.mark.parametrize("option", [("--eval-size", "20"), ("--eval-border", "crop")])
def test_without_maps_there_is_nothing_to_score_in_another_way(rescored, error, tmp_path, option):
    rescored()
    out = tmp_path / "other"
    assert "stored maps" in error("rescore", tmp_path / "old", "--out", out, *option)
    assert not out.exists()


def test_what_a_killed_command_left_is_swept(rescored, tmp_path):
    left = tmp_path / "new" / "trials" / "half.tmp"
    left.parent.mkdir(parents=True)
    left.touch()
    rescored(run_with=["--keep-maps"])
    assert not left.exists()


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


def test_the_plugins_of_the_run_give_the_metrics(toys, plugin_file, tmp_path, capsys):
    """Not every installed one; and those that are named are added."""
    lower = plugin_file("lower", LOWER_IS_BETTER)
    other = plugin_file("other", LOWER_IS_BETTER.replace("normal_score", "other_score"))
    models = ("--models", "toy-mean", "--scorers", "toy-map", "--device", "cpu")
    chosen = ("--plugins", f"{toys},{lower}", "--datasets", "toy-data/dark", *models)
    assert main(["run", *chosen, "--preprocessors", "none", "--out", str(tmp_path / "old")]) == 0

    def names(folder, *options):
        arguments = ["rescore", str(tmp_path / "old"), "--out", str(tmp_path / folder)]
        capsys.readouterr()
        assert main([*arguments, *options]) == 0
        (result,) = results(tmp_path / folder)
        metrics = [metric.partition("@")[0] for metric in result.trial.metrics]
        return result.trial.id, metrics, capsys.readouterr().err

    (old,) = results(tmp_path / "old")
    found, again, said = names("again", "--plugins", lower)
    assert found == old.trial.id
    assert again[-1] == "normal_score"
    assert "not installed" not in said
    assert names("more", "--plugins", f"{lower},{other}")[1] == [*again, "other_score"]
    _, fewer, said = names("fewer")
    assert fewer == again[:-1]
    assert "left out: normal_score, since the plugin is not installed" in said


def test_a_metric_that_is_better_if_lower_stays_so(toys, plugin_file, tmp_path, capsys):
    """From the run and from rescoring to the board and to the comparison."""
    plugins = ("--plugins", f"{toys},{plugin_file('lower', LOWER_IS_BETTER)}")
    models = ("--models", "toy-mean:gain=[2,1]", "--scorers", "toy-map", "--device", "cpu")
    chosen = ("--datasets", "toy-data/dark", "--preprocessors", "none", *models)
    old, new, risen = (tmp_path / name for name in ("old", "new", "risen"))
    metrics = ("--metrics", "image_auroc,normal_score")
    assert main(["run", *plugins, *chosen, *metrics, "--out", str(old)]) == 0
    assert main(["rescore", str(old), "--out", str(new), *plugins, *metrics]) == 0
    for folder in (old, new):
        first, second = results(folder)
        assert first.columns["normal_score"] == Heading("normal_score", "", higher_is_better=False)
        assert first.metrics["normal_score"] < second.metrics["normal_score"]
        capsys.readouterr()
        shown = ("--metric", "normal_score", "--format", "markdown")
        assert main(["leaderboard", str(folder), *shown]) == 0
        lines = capsys.readouterr().out.splitlines()
        header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[:4]]
        assert header[:2] == ["#", "model"]
        assert [row[:2] for row in rows] == [["1", "toy-mean"], ["2", "toy-mean(gain=2.0)"]]
        place = header.index("normal_score ↓")
        assert [row[place].startswith("**") for row in rows] == [True, False]
    for result in results(new):
        worse = {**result.metrics, "normal_score": 1.5 * result.metrics["normal_score"]}
        images = Store(new).images(result.trial)
        Store(risen).write(replace(result, metrics=worse, images=images))
    assert main(["compare", str(new), str(risen)]) == 1
    assert "worse" in capsys.readouterr().out
    assert main(["compare", str(risen), str(new)]) == 1  # better numbers need to be accepted too
    assert "worse" not in capsys.readouterr().out
