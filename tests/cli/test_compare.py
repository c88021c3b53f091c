from __future__ import annotations

import json
import shutil
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from adbench_harness.cli import main
from adbench_harness.results.store import Store


def toy_run(toys, folder):
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    assert main(["run", "--plugins", toys, *options, "--device", "cpu", "--out", str(folder)]) == 0


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Where the first test that runs the toys leaves its results for the others."""
    return tmp_path_factory.mktemp("once") / "results"


@pytest.fixture
def run(toys, once, tmp_path, capsys):
    """Puts the toys' results into a folder."""

    def results(name):
        if not once.exists():
            toy_run(toys, once)
        capsys.readouterr()
        return shutil.copytree(once / "trials", tmp_path / name / "trials").parent

    return results


@pytest.fixture
def board(run, tmp_path):
    """A board with the toys' results accepted."""
    folder = tmp_path / "board"
    folder.mkdir()
    run("board/results")
    (folder / "suite.toml").write_text("plugins = ['toys']\n[tolerance]\nnoise = 1000\n")
    return folder


def spoil(folder):
    """Every image's score becomes what it was not."""
    store = Store(folder)
    for result in list(store.read()):
        images = store.images(result.trial)
        metrics = {**result.metrics, "pixel_auroc": 0.1}
        images["score"] = np.ascontiguousarray(images["score"][::-1])
        store.write(replace(result, metrics=metrics, images=images))


def test_a_second_run_is_as_good(board, toys, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy_run(toys, "adbench-results")
    capsys.readouterr()
    assert main(["compare", str(board)]) == 0
    assert capsys.readouterr().out == "2 as good\n"


def test_a_worse_one_fails_with_its_reports(board, run, capsys, tmp_path):
    new = run("new")
    spoil(new)
    files = {name: tmp_path / "reports" / f"it.{name}" for name in ("markdown", "junit", "json")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["compare", str(board), str(new), *options]) == 1
    out = capsys.readouterr().out
    assert "worse: toy-data/dark · none · toy-mean · toy-map · seed 0\n  pixel AUROC " in out
    assert out.startswith("2 worse\n\n")
    assert files["markdown"].read_text().startswith("### ❌ adbench: 2 worse\n")
    assert ET.parse(files["junit"]).getroot().get("failures") == "2"
    assert json.loads(files["json"].read_text())["tolerance"]["noise"] == 1000


def test_a_suite_beside_the_point_may_be_named(board, run, capsys, tmp_path):
    new = run("new")
    spoil(new)
    lax = tmp_path / "lax.toml"
    lax.write_text("[tolerance]\nmetrics = 1\nscores = 100\nnoise = 1000\n")
    arguments = [str(board / "results"), str(new), "--suite", str(lax)]
    assert main(["compare", *arguments]) == 0
    assert capsys.readouterr().out == "2 as good\n"


def test_a_new_run_is_accepted(board, run, capsys):
    new = run("new")
    spoil(new)
    assert main(["compare", str(board), str(new), "--accept"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 worse\n")
    assert said.endswith(f"\naccepted: 2 trials in {board / 'results'}\n")
    assert main(["compare", str(board), str(new)]) == 0
    assert {path.name for path in (board / "results").iterdir()} == {"trials"}
    accepted = {path.name for path in (board / "results/trials").iterdir()}
    assert accepted == {path.name for path in (new / "trials").iterdir()}


def test_the_first_run_is_accepted_as_it_is(board, run, capsys):
    new = run("new")
    shutil.rmtree(board / "results")
    assert main(["compare", str(board), str(new), "--accept"]) == 0
    assert capsys.readouterr().out == f"accepted: 2 trials in {board / 'results'}\n"


def test_a_failure_is_not_accepted(board, run, error):
    new = run("new")
    store = Store(new)
    first = next(store.read())
    store.write(replace(first, status="failed"))
    before = {path.name: path.read_bytes() for path in (board / "results/trials").iterdir()}
    assert f"'{new}' cannot be accepted: 1 failed, such as toy-data/" in error(
        "compare", board, new, "--accept"
    )
    assert {p.name: p.read_bytes() for p in (board / "results/trials").iterdir()} == before


def test_a_baseline_without_results_is_no_gate(board, run, error):
    new = run("new")
    for path in (board / "results" / "trials").iterdir():
        path.unlink()
    said = error("compare", board, new)
    assert f"'{board / 'results'}' has no result to compare with; accept new ones" in said
    assert main(["compare", str(board), str(new), "--accept"]) == 0
    assert main(["compare", str(board), str(new)]) == 0


def test_mistakes(board, run, error, tmp_path):
    new = run("new")
    assert "no results in 'none'; run 'adbench run' first" in error("compare", board, "none")
    assert "no results in 'none'" in error("compare", "none", new)
    results = board / "results"
    assert "is the baseline itself; run into another folder" in error("compare", board, results)
    bad = tmp_path / "bad.toml"
    bad.write_text("[tolerance]\nscore = 1\n")
    assert "unknown key 'tolerance.score' (did you mean 'scores'?)" in error(
        "compare", board, new, "--suite", bad
    )
    bad.write_text("[tolerance.each]\nimage_aurok = 0.1\n")
    assert "no result has this metric (did you mean 'image_auroc'?)" in error(
        "compare", board, new, "--suite", bad
    )
    (tmp_path / "file").touch()
    assert "cannot be written" in error(
        "compare", board, new, "--json", tmp_path / "file" / "x.json"
    )


def test_a_process_says_it_without_torch(adbench, board, run):
    done = adbench("compare", board, run("new"))
    assert (done.code, done.out) == (0, "2 as good\n"), done.err
    assert "torch" not in done.heavy
