from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from adbench_harness import leaderboard
from adbench_harness.cli import leaderboard as command
from adbench_harness.cli import main

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


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


def test_latex_names_the_package_that_it_needs(results, capsys):
    assert main(["leaderboard", results, "--format", "latex"]) == 0
    said = capsys.readouterr()
    assert "booktabs" not in said.out
    assert said.err == (
        "adbench: the table needs \\usepackage{booktabs} in the document's preamble\n"
    )


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


def test_the_argument_that_is_wrong_is_named(error, results):
    def said(*arguments):
        return error("leaderboard", results, *arguments)

    two = ("--metric", "pixel_auroc,aupro")
    assert "--columns category needs one metric in --metric, which names 2" in said(
        "--columns", "category", *two
    )
    assert "--columns category needs one axis in --rows, which names 2 (model, scorer)" in said(
        "--columns", "category", "--rows", "model,scorer"
    )
    assert "so it does not go with --all" in said("--columns", "category", "--all")
    assert "--columns: no axis 'categories' (did you mean 'category'?)" in said(
        "--columns", "categories"
    )
    assert "--only: no axis 'modle' (did you mean 'model'?)" in said("--only", "modle=toy-mean")
    wrong = said("--only", "model=toy-men")
    assert "--only model=toy-men: no result has this model (did you mean 'toy-mean'?)" in wrong
    assert "choose from toy-mean, toy-raises" in wrong
    assert "no result has 'toy'" in said("--label", "toy=Toy")


def test_a_board_brings_the_names_of_its_suite(results, tmp_path, capsys):
    board = tmp_path / "board"
    shutil.copytree(results, board / "results")
    (board / "suite.toml").write_text("plugins = ['toys']\n[labels]\ntoy-mean = 'Mean (ours)'\n")
    command = ["leaderboard", str(board), "--format", "latex"]
    assert main([*command, "--only", "model=toy-mean"]) == 0
    assert "Mean (ours)" in capsys.readouterr().out
    assert main([*command, "--label", "toy-mean=Mine"]) == 0
    text = capsys.readouterr().out
    assert "Mine" in text
    assert "Mean (ours)" not in text


def test_a_component_is_selected_whatever_its_parameters(shown):
    text = shown("--only", "scorer=toy-map", "--all")
    assert "toy-fitted" not in text


@pytest.mark.parametrize("columns", [(), ("--columns", "category"), ("--metric", "image_auroc")])
def test_printed_numbers_of_absent_data_sets_are_left_out_and_named(shown, columns):
    text = " ".join(shown("--rows", "method", "--reported", "afps", *columns).split())
    assert "since no result here is on" in text
    assert "(reported)" not in text


def test_every_table_fits_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    boards = sorted(path.parent for path in LEADERBOARDS.glob("*/suite.toml"))
    assert boards
    for board in boards:
        assert main(["leaderboard", str(board)]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80, board.name
        assert text.count("───\n") == 1, "one block"
