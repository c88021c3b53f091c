from __future__ import annotations

import pytest

from adbench_harness.cli import main


@pytest.fixture
def results(toys, tmp_path, capsys):
    options = (
        "--preprocessors",
        "none",
        "--models",
        "toy-mean",
        "--scorers",
        "toy-map",
        "--device",
        "cpu",
    )
    assert main(["run", "--plugins", toys, *options, "--out", str(tmp_path / "results")]) == 0
    capsys.readouterr()
    return tmp_path / "results"


def test_a_site(results, toys, tmp_path, capsys):
    site = tmp_path / "site"
    command = ["report", str(results), "-o", str(site), "--plugins", toys, "--images", "1"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.startswith("1 row in ")
    assert said.out.endswith(f"open {site / 'index.html'}\n")
    assert said.err == ""
    assert len(list(site.glob("images/*.webp"))) == 2


def test_images_that_are_not_here_are_said(results, tmp_path, capsys):
    """A plugin that is a file is not found by its name."""
    assert main(["report", str(results), "-o", str(tmp_path / "site")]) == 0
    said = capsys.readouterr()
    assert "images left out: toy-data/dark: unknown dataset 'toy-data'" in said.err
    assert (tmp_path / "site/index.html").is_file()


def test_mistakes_are_one_line(error, results, tmp_path):
    assert "no results in 'none'" in error("report", "none", "-o", tmp_path / "site")
    assert "--images -1" in error("report", results, "-o", tmp_path / "site", "--images", "-1")
    assert "required: -o/--output" in error("report", results)
    assert "no result has the metric 'x'" in error(
        "report", results, "-o", tmp_path / "site", "--metric", "x"
    )
    assert "is not empty and not an adbench site" in error("report", results, "-o", results)
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in error("report", results, "-o", tmp_path / "file/site")
