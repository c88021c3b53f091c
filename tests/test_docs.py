"""What the pages say can be typed: every command of README and docs is run, page by page."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from ruamel.yaml import YAML

import adbench_harness
from adbench_harness.basic.datasets import Mini
from adbench_harness.cli import fill, main, parser
from adbench_harness.cli.new import RUNS
from adbench_harness.images import folders

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Boards take hours and other people's data: their commands are read, not run.
READ = sorted([*ROOT.glob("leaderboards/*/*.md"), *ROOT.glob("plugins/*/*.md")])
MARKS = {"install", "download", "cluster"}
FENCE = re.compile(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block; ``note`` is a mark or the name of a file."""

    language: str
    note: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text())]


def commands(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


class Reader:
    """Somebody who types what a page says, in a folder of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.printed = ""
        self._patch = monkeypatch
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def read(self, page: Path) -> None:
        for block in blocks(page):
            match block:
                case Block("sh", note, text) if note in MARKS:
                    for command in commands(text):
                        understood(command)
                    if "pip install -e" in text:
                        self.install()
                case Block("sh", "", text):
                    self.printed = "".join(map(self.type, commands(text)))
                case Block("python", "", text):
                    with contextlib.chdir(self.folder):
                        exec(compile(text, page.name, "exec"), {"__name__": "__main__"})
                case Block("python" | "toml", file, text) if "." in file:
                    (self.folder / file).write_text(text)
                case Block("text", "", text):
                    same(text, self.printed)
                case Block("toml", "", text):
                    tomllib.loads(text)
                case Block("yaml", "", text):
                    YAML(typ="safe").load(text)
                case Block(""):
                    pass
                case _:
                    pytest.fail(f"{page.name}: what is a block '{block.language} {block.note}'?")

    def type(self, command: str) -> str:
        words = shlex.split(command, comments=True)
        if words[0] == "cd":
            self.folder /= words[1]
            return ""
        if words[0] == "adbench":
            return self.adbench(words[1:])
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def adbench(self, arguments: list[str]) -> str:
        """In this process: to import what a command needs takes longer than most commands."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(arguments)
        assert code == 0, f"adbench {shlex.join(arguments)}\n{out.getvalue()}{err.getvalue()}"
        # Notes are on the page; a line a trial is what a terminal shows as a bar.
        notes = re.sub(r"^\[\d.*\n", "", err.getvalue(), flags=re.MULTILINE)
        return notes + out.getvalue()

    def install(self) -> None:
        """What ``pip install -e .`` leaves behind in an environment: metadata, and a path."""
        if not (self.folder / "pyproject.toml").exists():
            return  # adbench itself, which is there
        site = self.folder.parent / f"site-{self.folder.name}"
        build = "import sys, hatchling.build as b; print(b.build_editable(sys.argv[1]))"
        site.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", build, str(site)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        zipfile.ZipFile(site / done.stdout.strip()).extractall(site)
        for place in (site, self.folder):
            self._patch.syspath_prepend(place)
            seen = os.environ.get("PYTHONPATH", "")
            self._patch.setenv("PYTHONPATH", f"{place}{os.pathsep}{seen}")


def understood(command: str) -> None:
    """The command line takes it."""
    words = shlex.split(command, comments=True)
    if words[0] == "adbench":
        with contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                parser().parse_args(words[1:])
            except SystemExit as ended:  # --help ends with 0
                if ended.code:
                    pytest.fail(f"{command}: {err.getvalue()}")


def same(page: str, printed: str) -> None:
    """The same words, and in the first table's first columns the same numbers, to a point.

    Seconds, sizes and stars depend on the machine, and on their widths where a table is broken.
    """
    assert sorted(words(page)) == sorted(words(printed)), printed
    for expected, found in zip(scores(page), scores(printed), strict=True):
        assert found == pytest.approx(expected, abs=1), printed


def words(text: str) -> list[str]:
    plain = re.sub(r"\*|─+", "", text)
    return re.sub(r"(?<![\w.])\d[\d.]*( [kMG]\b)?", "0", plain).split()


def scores(text: str) -> list[list[float]]:
    """Image AUROC, its interval, pixel AUROC and AUPRO of each row below the first rule."""
    table = re.search(r"─\n(.*?)\n\n", text, re.DOTALL)
    rows = table[1].splitlines() if table else []
    return [[float(number) for number in re.findall(r"\d+\.\d", row)][:5] for row in rows]


@pytest.fixture
def reader(tmp_path, monkeypatch) -> Reader:
    """In a folder with what the README speaks of: a board, and images of one's own."""
    shutil.copytree(ROOT / "leaderboards/bottle", tmp_path / "leaderboards/bottle")
    rows = []
    brick = folders.locate(Mini(), None, {}) / "brick"
    for image in sorted(brick.rglob("*.png")):
        place = image.relative_to(brick)
        part, defect = place.parts[:2]
        if int(image.stem[:3]) < 4:
            (tmp_path / "parts" / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, tmp_path / "parts" / place)
            if part != "ground_truth":
                rows.append((place, part, "normal" if defect == "good" else "anomalous"))
    with (tmp_path / "parts/parts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "split", "label"), *rows])
    return Reader(tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page, reader):
    reader.read(page)


@pytest.mark.parametrize("kind", RUNS)
def test_what_new_writes_can_be_followed(kind, tmp_path, monkeypatch):
    """Its README: it installs, its tests pass, its checks pass, and it has a row."""
    reader = Reader(tmp_path, monkeypatch)
    reader.type(f"adbench new my-{kind} --kind {kind}")
    reader.type(f"cd adbench-my-{kind}")
    reader.read(reader.folder / "README.md")
    assert re.search(rf"\bmy-{kind}\b", reader.printed), reader.printed


@pytest.mark.parametrize("page", [*PAGES, *READ], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one(page):
    text = page.read_text()
    for fenced in FENCE.finditer(text):
        if fenced[1] in ("sh", "bash"):
            for command in commands(fenced[3]):
                understood(command)
    prose = FENCE.sub("", text)
    for command in re.findall(r"(?<!`)`(adbench [^`]+)`", prose):
        understood(" ".join(command.split()))
    assert not re.search(r"^    (adbench|pip|pytest|python) ", prose, re.MULTILINE), "fence it"


@pytest.mark.parametrize("page", ["catalogue.md", "embedded-backbone.md", "hooks.md", "nn.md"])
def test_a_generated_page_says_what_the_code_says(page):
    text = (ROOT / "docs" / page).read_text()
    assert fill.filled(text, ROOT / "docs") == text, f"run 'adbench fill docs/{page}'"


def test_the_catalogue_has_every_plugin_of_the_repository():
    plugins = {folder.name.removeprefix("adbench_") for folder in ROOT.glob("plugins/adbench_*")}
    text = (ROOT / "docs/catalogue.md").read_text()
    listed = re.findall(r"--plugins (\S+) -->", text)[0]
    extras = re.findall(r"plugins/adbench_(\w+)\)", text)
    assert {*listed.split(","), *extras} == plugins


def test_the_architecture_has_the_layers_of_the_harness():
    """One row per layer, the same modules in it, and no module without a layer."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in config["contracts"] if c["type"] == "layers"]
    text = (ROOT / "docs/architecture.md").read_text().partition("| module |")[2]
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    named = [set(re.findall(r"`(\w+)(?:\.py|/)`", row)) for row in rows]
    assert named == [set(layer.split(" | ")) for layer in layers]
    modules = {module.name for module in pkgutil.iter_modules(adbench_harness.__path__)}
    assert set().union(*named) == modules


def test_the_architecture_names_files_that_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    harness = ROOT / "harness/adbench_harness"
    for name in re.findall(r"`([\w/]+\.py|[\w/]+/)`", text):
        assert (harness / name).exists() or (ROOT / name).exists(), name
