"""The workflows of CI: valid, and made of commands that exist."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from adbench_harness.cli import parser

ROOT = Path(__file__).parents[1]
OURS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CALLER = ROOT / "tests/thirdparty/adbench-example/.github/workflows/leaderboard.yml"
REUSABLE = ROOT / ".github/workflows/leaderboard.yml"


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def check(*paths: Path) -> int:
    command = [sys.executable, "-m", "check_jsonschema"]
    schema = ["--builtin-schema", "vendor.github-workflows"]
    return subprocess.run([*command, *schema, *paths], capture_output=True, check=False).returncode


def scripts(path: Path) -> list[str]:
    """The ``run`` steps of a workflow."""
    jobs = load(path)["jobs"].values()
    return [step["run"] for job in jobs for step in job.get("steps", ()) if "run" in step]


def tox() -> dict[str, list[str]]:
    """The commands of each of tox's environments."""
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(ROOT / "tox.ini")
    found = {}
    for section in ini.sections():
        text = ini[section].get("commands", "").replace("\\\n", " ")
        found[section.rpartition(":")[2]] = [
            line.strip().removeprefix("- ") for line in text.splitlines() if line.strip()
        ]
    return {**found, "test": found["testenv"]}


def test_they_fit_githubs_schema(tmp_path: Path) -> None:
    assert check(*OURS, CALLER) == 0
    broken = tmp_path / "broken.yml"
    broken.write_text(REUSABLE.read_text().replace("runs-on", "run-on"))
    assert check(broken) == 1


def test_actionlint_finds_nothing() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not on the path; tox -e workflows has it")
    done = subprocess.run([actionlint, *OURS, CALLER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_calls_environments_that_tox_has() -> None:
    (ci,) = (path for path in OURS if path.name == "ci.yml")
    called = [name for text in scripts(ci) for name in re.findall(r"^tox -e (\S+)$", text)]
    names = {name for group in called for name in group.split(",")}
    assert names == {"lint", "types", "workflows", "test", "leaderboard"}
    assert names <= tox().keys()


def test_every_adbench_command_is_one_that_adbench_takes() -> None:
    lines = [line for script in scripts(REUSABLE) for line in script.splitlines()]
    lines += [line for commands in tox().values() for line in commands]
    commands = [line.partition("||")[0] for line in lines if line.startswith("adbench ")]
    assert len(commands) == 4
    for command in commands:
        words = shlex.split(command.replace("{posargs}", ""))
        assert parser().parse_args(words[1:]).command in ("run", "compare")


def test_the_summary_is_where_tox_writes_it() -> None:
    (ci,) = (path for path in OURS if path.name == "ci.yml")
    (shown,) = (text.split()[1] for text in scripts(ci) if text.startswith("cat "))
    (written,) = (line for line in tox()["leaderboard"] if line.startswith("adbench compare"))
    assert shown == ".tox/leaderboard/tmp/compare.md"
    assert "--markdown {env_tmp_dir}{/}compare.md" in written


@pytest.mark.parametrize("caller", [CALLER, ROOT / ".github/workflows/ci.yml"], ids=["five", "ci"])
def test_callers_give_what_the_workflow_takes(caller: Path) -> None:
    (job,) = (job for job in load(caller)["jobs"].values() if "uses" in job)
    assert ".github/workflows/leaderboard.yml" in job["uses"]
    assert job["with"].keys() <= load(REUSABLE)["on"]["workflow_call"]["inputs"].keys()
    here = CALLER.parents[2] if caller == CALLER else ROOT
    for name in ("suite", "baseline"):
        assert (here / job["with"][name]).exists()


def test_five_lines_call_it_and_the_page_shows_them() -> None:
    text = CALLER.read_text()
    assert len(text.splitlines()) == 5
    assert f"```yaml\n{text}```" in (ROOT / "docs/ci.md").read_text()
