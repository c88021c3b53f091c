"""A stored trial repeated from its own record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adbench_harness.cli import main
from adbench_harness.results.store import PROCESS, Store

TOYS = Path(__file__).parents[1] / "toys.py"
DIES = """
import os
from typing import ClassVar
from toys import ToyModel

class Dies(ToyModel):
    name: ClassVar[str] = "dies"
    def fit(self, train, tools):
        os._exit(0)

@hookimpl
def adbench_models():
    return [Dies]
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder, toys = tmp_path_factory.mktemp("original"), str(TOYS)
    names = ("--datasets", "toy-data/dark", "--preprocessors", "none", "--augmenters", "toy-square")
    names += ("--models", "toy-trained", "--scorers", "toy-map,toy-fitted", "--device", "cpu")
    assert main(["run", "--plugins", toys, *names, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def ran(original, tmp_path, capsys):
    """The folder of a run of the toys on one category."""
    capsys.readouterr()
    return shutil.copytree(original, tmp_path / "ran")


@pytest.fixture
def record(ran):
    """The file of one of its results."""
    (trial,) = (r.trial for r in Store(ran).read() if r.trial.scorer.name == "toy-map")
    return ran / "trials" / f"{trial.id}.json"


def edited(record, **changes):
    """Change parts of a result: ``metrics={"aupro": 0.1}``; None removes a key."""
    content = json.loads(record.read_text())
    for part, values in changes.items():
        for key, value in values.items():
            content[part][key] = value
            if value is None:
                del content[part][key]
    record.write_text(json.dumps(content))


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_trial_matches_itself_bit_for_bit_and_nothing_is_written(ran, record, toys, capsys):
    before = files(ran)
    assert main(["rerun", str(record), "--plugins", toys]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:2] == [f"  {record.stem}"], "a line of its own, since the title is long"
    assert said[2].startswith("images: the same (")
    assert said[3] == "allowed: no difference, since device and versions are the same"
    stored = json.loads(record.read_text())["metrics"]
    shown = {line.split()[0]: line for line in said if line.endswith((" ok", "not compared"))}
    assert shown.keys() == stored.keys()
    assert shown["aupro"].split()[1:] == [repr(stored["aupro"])] * 2 + ["0", "ok"]
    assert said[-2] == "image scores: 0 of 8 images differ, by at most 0 standard deviations"
    assert said[-1] == "matches"
    assert files(ran) == before


def test_trials_of_a_folder_are_selected(ran, toys, capsys):
    assert main(["rerun", str(ran), "--only", "scorer=toy-fitted", "--plugins", toys]) == 0
    said = capsys.readouterr().out
    assert said.count("\nmatches\n") == 1
    assert "toy-fitted" in said


def test_a_file_alone_is_enough(record, toys, tmp_path, capsys):
    alone = tmp_path / "mail" / "attached.json"
    alone.parent.mkdir()
    shutil.copy(record, alone)
    assert main(["rerun", str(alone), "--plugins", toys]) == 0
    assert "image scores: not compared, since the record is without its .npz" in (
        capsys.readouterr().out
    )


def test_the_smallest_difference_is_a_mismatch(record, toys, capsys):
    value = json.loads(record.read_text())["metrics"]["aupro"]
    edited(record, metrics={"aupro": value + 1e-15})
    assert main(["rerun", str(record), "--plugins", toys]) == 1
    assert capsys.readouterr().out.endswith("\ndoes not match: aupro\n")


def test_other_software_gets_a_tolerance_that_is_said(record, toys, capsys):
    value = json.loads(record.read_text())["metrics"]["aupro"]
    other = {"torch": "1.0", "processor": None}
    edited(record, provenance=other, metrics={"aupro": value - 0.004})
    assert main(["rerun", str(record), "--plugins", toys]) == 0
    said = capsys.readouterr().out
    assert "differs: torch: 1.0 → " in said
    assert "differs: processor: not recorded → " in said
    assert "allowed: 0.005 of a metric" in said
    edited(record, metrics={"aupro": value - 0.006, "new_metric": 0.5})
    assert main(["rerun", str(record), "--plugins", toys]) == 1
    assert "does not match: aupro, new_metric" in capsys.readouterr().out


def test_a_failure_is_repeated_too(plugin_file, tmp_path, capsys):
    plugin, folder = plugin_file("dies", DIES), tmp_path / "died"
    names = ("--datasets", "toy-data/dark", "--models", "dies", "--scorers", "toy-map")
    plugins = ("--plugins", f"{plugin},{TOYS}")
    rest = ("--augmenters", "none", "--preprocessors", "none", "--device", "cpu")
    assert main(["run", *plugins, *names, *rest, "--out", str(folder)]) == 1
    (record,) = (folder / "trials").glob("*.json")
    assert json.loads(record.read_text())["failures"][0]["stage"] == PROCESS
    capsys.readouterr()
    assert main(["rerun", str(record), *plugins]) == 0
    said = capsys.readouterr().out
    assert "new failure in process: the trial's process ended with exit code 0" in said
    Path(plugin).write_text(Path(plugin).read_text().replace("os._exit(0)", "super().fit(train)"))
    assert main(["rerun", str(record), *plugins]) == 1
    assert "does not match: " in capsys.readouterr().out


def test_other_images_are_refused(record, toys, tmp_path, error, monkeypatch):
    from toys import ToyData

    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "cache"))
    root = ToyData().build(tmp_path / "own")
    image = next((root / "dark" / "test").rglob("*.png"))
    shutil.copy(next((root / "light" / "test").rglob("*.png")), image)
    said = error("rerun", record, "--plugins", toys, "--data", f"toy-data={root}")
    assert "was measured on others, images of toy-data/dark: " in said
    assert "--data" in said


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("provenance", {"threads": None}, "lacks a possible number of threads"),
        ("trial", {"seed": 5}, "so it was changed"),
    ],
)
def test_a_record_that_lacks_something_is_refused(record, toys, error, part, changes, said):
    edited(record, **{part: changes})
    assert said in error("rerun", record, "--plugins", toys)


def test_what_cannot_be_tried_is_refused(ran, record, toys, error, tmp_path):
    assert "is the file toys.py" in error("rerun", record)
    assert "select trials with --only" in error("rerun", ran)
    assert "cannot be read" in error("rerun", tmp_path / "none.json")
    assert "--only is for a folder" in error("rerun", record, "--only", "seed=0")
    assert "no result has this scorer" in error("rerun", ran, "--only", "scorer=nn")
    edited(record, provenance={"plugins": None})
    assert "does not name its plugins" in error("rerun", record)
    record.write_text("{")
    assert "not a result" in error("rerun", record, "--plugins", toys)
