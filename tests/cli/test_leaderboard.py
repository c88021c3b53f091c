from __future__ import annotations

import csv
import io

import pytest

from adbench_harness import leaderboard
from adbench_harness.cli import leaderboard as command
from adbench_harness.cli import main


@pytest.fixture
def results(toys, tmp_path, capsys):
    options = ("--models", "toy-mean,toy-raises", "--scorers", "toy-map,toy-fitted")
    options = (*options, "--preprocessors", "none,toy-dim", "--device", "cpu")
    assert main(["run", "--plugins", toys, *options, "--out", str(tmp_path / "results")]) == 1
    capsys.readouterr()
    return str(tmp_path / "results")


@pytest.fixture
def shown(results, capsys):
    def show(*arguments):
        assert main(["leaderboard", results, *arguments]) == 0
        return capsys.readouterr().out

    return show


def test_every_format(shown):
    assert set(command.FORMATS) == set(leaderboard.FORMATS)
    texts = {name: shown("--format", name) for name in command.FORMATS}
    assert "──────" in texts["terminal"]
    assert "\x1b[" not in texts["terminal"]
    assert "| toy-mean" in texts["markdown"]
    assert r"\begin{tabular}" in texts["latex"]
    assert "<table" in texts["html"]
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert {row["category"] for row in rows} == {"dark", "light"}
    mean = [row for row in rows if row["model"] == "toy-mean" and row["scorer"] == "toy-map"]
    assert len(mean) == 4
    assert all(0 <= float(row["pixel_auroc"]) <= 1 for row in mean)
    for name in ("terminal", "markdown", "html"):
        assert "the toy broke" in texts[name]


def test_pivots(shown):
    text = shown("--rows", "method", "--columns", "category", "--metric", "pixel_auroc")
    assert "dark" in text
    assert "light" in text
    assert shown("--columns", "preprocessor").count("toy-dim") >= 1


def test_a_process_prints_the_same(adbench, results, shown):
    done = adbench("leaderboard", results, "--format", "csv")
    assert done.code == 0, done.err
    assert done.out == shown("--format", "csv")
    assert "torch" not in done.heavy


def test_mistakes_are_one_line(error, results, tmp_path):
    assert "no results in 'none'" in error("leaderboard", "none")
    assert "no result has the metric 'auroc'" in error("leaderboard", results, "--metric", "auroc")
    assert "sideways" in error("leaderboard", results, "--rows", "sideways")
    (tmp_path / "empty/trials").mkdir(parents=True)
    assert "there are no results" in error("leaderboard", tmp_path / "empty")
