"""A distribution of somebody else's, built, installed, run and removed for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from ruamel.yaml import YAML

WORKFLOW = Path(__file__).parents[2] / ".github/workflows/leaderboard.yml"
EXAMPLE = Path(__file__).with_name("adbench-example")


class Place(SimpleNamespace):
    """A virtual environment that sees what this one has installed, and can install more."""

    def python(self, *arguments):
        return subprocess.run(
            [str(self.interpreter), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def adbench(self, *arguments):
        code = "import sys; from adbench_harness.cli import main; sys.exit(main())"
        return self.python("-c", code, *arguments)

    def pip(self, *arguments):
        quiet = ("-q", "--disable-pip-version-check", "--no-input")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(self.interpreter), *arguments, *quiet],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self, distribution):
        self.pip("install", "--no-deps", "--no-index", "--no-build-isolation", str(distribution))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thirdparty")
    venv.create(folder / "venv", with_pip=False)
    inside = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    interpreter = Path(sysconfig.get_path("scripts", "venv", inside)) / "python"
    packages = Path(sysconfig.get_path("purelib", "venv", inside))
    # addsitedir also follows this environment's own .pth files, so an editable adbench is seen.
    outer = sysconfig.get_path("purelib")
    (packages / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    environment = {
        **os.environ,
        "ADBENCH_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    # Away from the repository, whose settings of pytest are none of a third party's business.
    source = Path(shutil.copytree(EXAMPLE, folder / "adbench-example"))
    return Place(folder=folder, source=source, interpreter=interpreter, environment=environment)


@pytest.fixture(scope="module")
def example(place):
    """The same with the example in it."""
    place.install(place.source)
    return place


def plugins(place):
    rows = json.loads(place.adbench("list", "--json").stdout)
    return [(row["plugin"], row["distribution"], row["version"]) for row in rows]


def test_its_plugin_is_listed_beside_ours(example):
    found = plugins(example)
    assert ("example", "adbench-example", "1.0") in found
    assert "adbench-harness" in {distribution for _, distribution, _ in found}


def test_its_components_run_by_one_name(example):
    done = example.adbench("run", "--plugins", "example", "--out", "results")
    assert done.returncode == 0, done.stderr
    assert "pixel-gaussian" in done.stdout
    assert "detected" in done.stdout  # the metric's title, whose words may be on two lines
    assert "detected_at_5" not in done.stdout
    stored = [json.loads(p.read_text()) for p in (example.folder / "results/trials").glob("*.json")]
    assert len(stored) == 2
    assert {result["trial"]["category"] for result in stored} == {"dark", "bright"}
    for result in stored:
        assert result["trial"]["scorer"]["name"] == "area"
        assert result["metrics"]["detected_at_5"] == 1
        assert result["metrics"]["pixel_auroc"] > 0.9
        assert result["provenance"]["plugins"]["example"] == "adbench-example 1.0"
    assert "detected" in example.adbench("leaderboard", "results").stdout


def test_its_parameters_are_checked(example):
    done = example.adbench("run", "--plugins", "example", "--set", "pixel-gaussian.flor=1")
    assert done.returncode == 2
    assert done.stderr == (
        "adbench: error: model 'pixel-gaussian' has no parameter 'flor' (did you mean 'floor'?); "
        "it has side, floor\n"
    )


def test_its_own_tests_pass(example):
    done = example.python("-m", "pytest", "-q", example.source)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_a_file_is_a_plugin_beside_it(example):
    (example.folder / "mine.py").write_text(
        """
from adbench_harness.hookspecs import hookimpl


class Invert:
    name, summary, paper, version = "invert", "The negative.", None, 1

    def __call__(self, image):
        return 255 - image


@hookimpl
def adbench_preprocessors():
    return [Invert]
"""
    )
    options = ("--datasets", "dots/dark", "--preprocessors", "invert", "--out", "mine")
    done = example.adbench("run", "--plugins", "example,./mine.py", *options)
    assert done.returncode == 0, done.stderr
    (stored,) = (example.folder / "mine/trials").glob("*.json")
    result = json.loads(stored.read_text())
    assert [choice["name"] for choice in result["trial"]["preprocessors"]] == ["invert"]
    assert re.fullmatch(r"mine\.py [0-9a-f]{8}", result["provenance"]["plugins"]["mine"])


def test_a_name_that_two_distributions_offer_is_refused(example, tmp_path):
    (tmp_path / "rival.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "adbench-rival"
version = "2.1"
[project.entry-points.adbench]
example = "rival"
[tool.hatch.build.targets.wheel]
include = ["rival.py"]
"""
    )
    example.install(tmp_path)
    try:
        done = example.adbench("run", "--plugins", "example")
        assert done.returncode == 2
        assert done.stderr == (
            "adbench: error: plugin 'example' is offered by adbench-example 1.0 and "
            "adbench-rival 2.1; uninstall one of them\n"
        )
        listed = example.adbench("list").stdout
        assert listed.count("installed twice: uninstall one") == 2
        # Nobody who did not ask for either is harmed.
        assert example.adbench("show", "map").returncode == 0
    finally:
        example.pip("uninstall", "-y", "adbench-rival")
    assert ("example", "adbench-rival", "2.1") not in plugins(example)


def gate(example):
    """The commands of the workflow that a third party calls, in its repository; and the summary."""
    workflow = YAML(typ="safe").load(WORKFLOW)
    inputs = workflow["on"]["workflow_call"]["inputs"]
    (job,) = workflow["jobs"].values()
    given = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: inputs[m[1]]["default"], value)
        for name, value in job["env"].items()
    }
    commands = example.folder / "commands"
    commands.mkdir(exist_ok=True)
    script = commands / "adbench"
    code = "import sys; from adbench_harness.cli import main; sys.exit(main())"
    script.write_text(f'#!/bin/sh\nexec "{example.interpreter}" -c "{code}" "$@"\n')
    script.chmod(0o755)
    summary = example.folder / "summary.md"
    environment = {
        **example.environment,
        **given,
        "GITHUB_STEP_SUMMARY": str(summary),
        "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
    }
    steps = [step["run"] for step in job["steps"] if "run" in step]
    assert [step.split()[:2] for step in steps] == [
        ["pip", "install"],
        ["adbench", "run"],
        ["adbench", "compare"],
    ]
    shutil.rmtree(example.source / "new", ignore_errors=True)
    for step in steps[1:]:  # it is installed already, without a network
        done = subprocess.run(
            ["bash", "-e", "-c", step],
            cwd=example.source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            break
    return done, summary.read_text()


def test_its_ci_passes_and_sees_a_mistake(example):
    done, summary = gate(example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary.startswith("### ✅ adbench: 2 as good\n")
    assert ET.parse(example.source / "reports/compare.xml").getroot().get("tests") == "2"
    model = example.source / "adbench_example/model.py"
    right = model.read_text()
    try:
        model.write_text(right.replace(".abs()", ".abs().neg()"))
        assert model.read_text() != right
        example.install(example.source)
        done, summary = gate(example)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "**worse** dots/dark" in summary
    finally:
        model.write_text(right)
        example.install(example.source)


def test_it_goes_without_a_trace(example):
    example.pip("uninstall", "-y", "adbench-example")
    assert "example" not in {name for name, _, _ in plugins(example)}
    done = example.adbench("run", "--plugins", "example")
    assert done.returncode == 2
    assert done.stderr.startswith("adbench: error: unknown plugin 'example'")
    example.install(example.source)


def test_what_new_writes_is_a_distribution_like_it(place):
    assert place.adbench("new", "mymethod", "--kind", "model").returncode == 0
    source = place.folder / "adbench-mymethod"
    place.install(source)
    try:
        assert ("mymethod", "adbench-mymethod", "0.1.0") in plugins(place)
        tests = place.python("-m", "pytest", "-q", source)
        assert tests.returncode == 0, tests.stdout
        options = ("--datasets", "mini/brick", "--out", "new")
        done = place.adbench("run", "--plugins", "mymethod", *options)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^1  mymethod ", done.stdout, re.MULTILINE), done.stdout
        (stored,) = (place.folder / "new/trials").glob("*.json")
        provenance = json.loads(stored.read_text())["provenance"]
        assert provenance["plugins"]["mymethod"] == "adbench-mymethod 0.1.0"
    finally:
        place.pip("uninstall", "-y", "adbench-mymethod")
