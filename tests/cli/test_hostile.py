"""What files, names and full disks do to every command: one line, and nothing that acts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench_harness.cli import main
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")
RUN = (
    "--datasets",
    "toy-data/dark",
    "--models",
    "toy-mean",
    "--scorers",
    "toy-map,toy-fitted",
    "--preprocessors",
    "none",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the toys, and the cache that their data set is in."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        assert main([*run(folder / "results")]) == 0
    return folder / "results"


def run(out: Path) -> list[str]:
    options = ("--engine", "inline", "--device", "cpu", "--keep-maps")
    return ["run", "--plugins", TOYS, *RUN, *options, "--out", str(out)]


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "results"))


def first(results: Path, suffix: str) -> Path:
    return min(results / "trials" / f"{id_}{suffix}" for id_ in Store(results).finished())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def retype(path: Path) -> None:
    content = json.loads(path.read_bytes())
    content["metrics"]["image_auroc"] = "0.5"
    path.write_text(json.dumps(content))


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a record is cut off": (".json", cut),
    "a record is empty": (".json", empty),
    "a number of a record is text": (".json", retype),
    "scores are cut off": (".npz", cut),
    "scores are empty": (".npz", empty),
}
COMMANDS: dict[str, Callable[[Path, Path], list[Any]]] = {
    "leaderboard": lambda old, new: ["leaderboard", old],
    "report": lambda old, new: ["report", old, "-o", new / "site"],
    "compare": lambda old, new: ["compare", old, new / "again"],
    "rescore": lambda old, new: ["rescore", old, "--out", new / "rescored", "--plugins", TOYS],
    "scores": lambda old, new: ["scores", old, "-o", new / "scores.csv"],
    "maps": lambda old, new: ["scores", old, "--maps", new / "maps", "--plugins", TOYS],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_one_line_in_every_command(
    whole: Path, results: Path, tmp_path: Path, error: Any, damage: str, command: str
) -> None:
    suffix, spoil = DAMAGES[damage]
    path = min(
        p for p in (results / "trials").iterdir() if p.name.count(".") == 1 and p.suffix == suffix
    )
    spoil(path)
    shutil.copytree(whole, tmp_path / "again")
    said = error(*COMMANDS[command](results, tmp_path))
    assert f"{path}: not a result (" in said
    assert "allow_pickle" not in said


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_same_run_makes_a_damaged_result_again(
    results: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    suffix, spoil = DAMAGES[damage]
    path = min(
        p for p in (results / "trials").iterdir() if p.name.count(".") == 1 and p.suffix == suffix
    )
    before = Store(results).finished()
    spoil(path)
    (results / "trials" / "stranger.json").write_text("{")
    assert Store(results).finished() == before - {path.stem}
    capsys.readouterr()
    assert main(run(results)) == 0
    said = capsys.readouterr()
    assert "1 of 2 trials is in" in said.out
    assert f"{path}: not a result" in said.err
    assert "now it runs again" in said.err
    assert Store(results).finished() == before
