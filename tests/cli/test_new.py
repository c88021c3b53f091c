"""What ``adbench new`` writes; that it works, from pytest to the leaderboard, is test_docs.py's."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from adbench_harness import __version__
from adbench_harness.cli import main
from adbench_harness.cli.new import RUNS, TEMPLATES
from adbench_harness.planning.plugins import KINDS


@pytest.fixture
def new(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def write(*arguments):
        assert main(["new", *arguments]) == 0
        return capsys.readouterr().out

    return write


@pytest.mark.parametrize("kind", RUNS)
def test_a_whole_distribution_in_the_name_given(new, kind):
    said = new("my-own", "--kind", kind)
    root = Path("adbench-my-own")
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {
        ".github/workflows/tests.yml",
        ".gitignore",
        "README.md",
        "adbench_my_own.py",
        "pyproject.toml",
        "tests/test_my_own.py",
    }
    for file in files:
        assert "template" not in (root / file).read_text().lower()
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"adbench": {"my-own": "adbench_my_own"}}
    assert project["dependencies"] == [f"adbench-harness>={__version__}"]
    names = {
        node.name if isinstance(node, ast.ClassDef) else node.targets[0].id
        for node in ast.parse((root / "adbench_my_own.py").read_text()).body
        if isinstance(node, ast.ClassDef | ast.Assign)
    }
    assert names & {"MyOwn", "MY_OWN"}
    workflow = (root / ".github/workflows/tests.yml").read_text()
    assert workflow.endswith('- run: pip install -e ".[test]"\n      - run: pytest\n')
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert commands[0] == 'cd adbench-my-own && pip install -e ".[test]"'
    assert commands[1] == "pytest"
    assert commands[2].startswith("adbench run --plugins ")
    assert commands[2] in (root / "README.md").read_text()


def test_every_kind_of_component_has_one():
    assert set(RUNS) == set(KINDS) - {"recipe"}
    assert {path.name for path in TEMPLATES.iterdir()} == {*RUNS, "common"}


def test_a_model_unless_asked_otherwise(new):
    assert new("mymethod").startswith("adbench-mymethod: a model that works")


@pytest.mark.parametrize("name", ["Mine", "9lives", "a--b", "-a", "a/b", "a b", "à", ""])
def test_names_that_no_plugin_may_have(error, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "is not a plugin name" in error("new", "--", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("patchcore", "a plugin 'patchcore' is already installed"),
        ("none", "already has a meaning in adbench"),
        ("seed", "already has a meaning in adbench"),
        ("batch", "the code already has a Batch"),
        ("anomaly-map", "the code already has a AnomalyMap"),
    ],
)
def test_names_that_are_taken(error, name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in error("new", name)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(new, error):
    Path("adbench-mine").mkdir()
    assert "'adbench-mine' exists" in error("new", "mine")
    assert not list(Path("adbench-mine").iterdir())


def test_it_answers_at_once(adbench):
    done = adbench("new", "mine")
    assert (done.code, done.err, done.heavy) == (0, "", [])
