"""What files, names and full disks do to every command: one line, and nothing that acts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
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


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def nest(path: Path) -> None:
    path.write_text('{"schema": 2, "trial": ' + "[" * 9_000 + "]" * 9_000 + "}")


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a record is deep": (".json", nest),
    "a record is a link to itself": (".json", link_to_itself),
    "scores are a link to themselves": (".npz", link_to_itself),
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
def test_a_damaged_result_is_not_repeated(results: Path, error: Any, damage: str) -> None:
    suffix, spoil = DAMAGES[damage]
    path = first(results, suffix)
    spoil(path)
    said = error("rerun", path.with_suffix(".json"), "--plugins", TOYS)
    assert f"{path}" in said
    assert "not a result (" in said or "it is not a file" in said


@pytest.mark.parametrize("command", ["rescore", "maps"])
def test_missing_scores_are_one_line(
    results: Path, tmp_path: Path, error: Any, command: str
) -> None:
    path = first(results, ".maps.npz")
    path = path.with_name(path.name.replace(".maps", ""))
    path.unlink()
    said = error(*COMMANDS[command](results, tmp_path))
    assert f"{path.with_suffix('.json')}: not a result ({path.name} is missing beside it)" in said


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


# ---------------------------------------------------------------- full disks


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a file")


FULL: dict[str, tuple[str, Callable[[Path, Path], list[Any]]]] = {
    "a site": ("pathlib.Path.write_bytes", COMMANDS["report"]),
    "a CSV file": ("pathlib.Path.write_bytes", COMMANDS["scores"]),
    "maps": ("pathlib.Path.write_bytes", COMMANDS["maps"]),
    "rescored results": ("os.fsync", COMMANDS["rescore"]),
    "a baseline": ("shutil.copy", lambda old, new: ["compare", new / "base", old, "--accept"]),
    "a plugin": ("pathlib.Path.write_bytes", lambda old, new: ["new", "mine"]),
    "a plot": (
        "matplotlib.figure.Figure.savefig",
        lambda old, new: ["plot", old, "--x", "scorer", "-o", new / "x.svg"],
    ),
}


@pytest.mark.parametrize("what", FULL)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    results: Path, tmp_path: Path, what: str, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place, command = FULL[what]
    arguments = command(results, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        said = error(*arguments)
    assert "No space left on device" in said
    assert "make room, and the same command goes on" in said
    left = [path for path in tmp_path.rglob("*") if path.suffix in (".tmp", ".part", ".new")]
    assert not left
    assert main(list(map(str, arguments))) == 0


def test_what_may_not_be_read_is_one_line(
    tmp_path: Path, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_dir", forbidden)
    said = error("rerun", tmp_path)
    assert said == f"adbench: error: '{tmp_path}': Permission denied; correct its permissions\n"


def test_a_full_cache_is_one_line(
    tmp_path: Path, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    said = error("run", "--plugins", "patchcore", "--datasets", "mini", "--out", tmp_path / "out")
    assert "data set 'mini' cannot be built in" in said
    assert "make room, and the same command goes on" in said
    assert {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()} == {
        "mini.lock"
    }


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "file"))
    said = error("run", "--plugins", "patchcore", "--datasets", "mini", "--out", tmp_path / "out")
    assert "data set 'mini' cannot be built in" in said
    assert "(Not a directory); let ADBENCH_CACHE name another folder" in said


# ---------------------------------------------------------------- names and messages


def test_a_message_of_an_error_is_one_clean_line(error: Any, tmp_path: Path) -> None:
    for name in ("\x1b[2J\x07", "a\nb", "\u202ex", "[/b]", "\udcff"):
        said = error("leaderboard", tmp_path / name)
        assert said[:-1].isprintable()
        assert "no results in" in said


def test_what_a_plugin_says_of_itself_is_clean(
    plugin_file: Callable[[str, str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plugin = plugin_file(
        "evil",
        "from toys import ToyModel\n"
        "class Evil(ToyModel):\n"
        "    name = 'evil'\n"
        "    summary = 'a \\x1b[2J summary \\x07 [/b]'\n"
        "    def fit(self, train, tools):\n"
        "        raise RuntimeError('\\x1b]0;title\\x07 [/b] \\udcff')\n"
        "@hookimpl\n"
        "def adbench_models():\n"
        "    return [Evil]\n",
    )
    assert main(["list", "--plugins", plugin]) == 0
    assert main(["show", "evil", "--plugins", plugin]) == 0
    toys = ["--datasets", "toy-data/dark", "--scorers", "toy-map", "--preprocessors", "none"]
    options = ["--models", "evil", "--engine", "inline", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["run", "--plugins", f"{TOYS},{plugin}", *toys, *options]) == 1
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert all(line.isprintable() for line in text.splitlines())
    assert "summary" in said.out
    assert "title" in said.out


def test_a_plugin_that_ends_the_command_is_named(adbench: Any) -> None:
    plugin = adbench.folder / "deadly.py"
    plugin.write_text("import ctypes\nctypes.string_at(0)")
    for command in ("list models", "show mini", "run"):
        done = adbench(*command.split(), "--plugins", "./deadly.py")
        assert done.code == -signal.SIGSEGV
        assert done.err == (
            f"adbench: error: the process ended during the import of plugin 'deadly' of {plugin}; "
            "fix it or leave it out of --plugins\n"
        )


def test_an_interrupt_names_the_plugin_that_hangs(adbench: Any) -> None:
    plugin = adbench.folder / "endless.py"
    plugin.write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    process = adbench.start("list", "models", "--plugins", "./endless.py")
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == (
        f"adbench: interrupted during the import of plugin 'endless' of {plugin}: if it hangs, fix "
        "it or leave it out; run the same command again to continue\n"
    )


# ---------------------------------------------------------------- the network


QUIET: dict[str, Callable[[Path, Path], list[Any]]] = {
    **{name: make for name, make in COMMANDS.items() if name != "compare"},
    "run": lambda old, new: run(new / "more"),
    "plan": lambda old, new: [*run(new / "more"), "--explain"],
    "compare": lambda old, new: ["compare", new / "base", old, "--accept"],
    "timings": lambda old, new: ["timings", old],
    "plot": FULL["a plot"][1],
    "list": lambda old, new: ["list"],
    "show": lambda old, new: ["show", "patchcore"],
    "data": lambda old, new: ["data", "list", "folder", "visa"],
    "weights": lambda old, new: ["weights"],
    "doctor": lambda old, new: ["doctor"],
    "new": lambda old, new: ["new", "mine"],
    "check": lambda old, new: ["check", "toy-dim", "--plugins", TOYS],
    "reference": lambda old, new: ["reference", "hooks"],
}


@pytest.mark.parametrize("command", QUIET)
def test_no_command_connects_unless_it_is_told_to_fetch(
    results: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **_: Any) -> Any:
        asked.append(arguments)
        raise OSError("the network was asked for")

    asked: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert main(list(map(str, QUIET[command](results, tmp_path)))) in (0, 1)
    assert not asked
