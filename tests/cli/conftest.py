from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from adbench_harness.cli import main
from adbench_harness.images import folders
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")
HEAVY = {"torch", "torchvision", "numpy", "pandas", "cv2", "sklearn", "scipy", "skimage", "faiss"}
# No command of these tests may talk to anybody; what was imported is written down.
SITE = f"""
import os, socket, sys

def watch(event, arguments):
    if event == "import" and arguments[0].partition(".")[0] in {HEAVY!r}:
        with open(os.environ["IMPORTED"], "a") as log:
            log.write(arguments[0] + "\\n")
    outward = (socket.AF_INET, socket.AF_INET6)
    if event == "socket.getaddrinfo" or event == "socket.__new__" and arguments[1] in outward:
        raise RuntimeError("the network was asked for")

sys.addaudithook(watch)
"""


class Command:
    """The command ``adbench`` as a process, in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.imported = folder / "imported"
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE)
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "IMPORTED": str(self.imported),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "160",
        }

    def start(self, *arguments, **environment):
        return subprocess.Popen(
            [Path(sys.executable).with_name("adbench"), *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments, **environment):
        self.imported.write_text("")
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=600)
        return SimpleNamespace(
            code=process.returncode, out=out, err=err, heavy=self.imported.read_text().split()
        )


@pytest.fixture
def adbench(tmp_path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def error(capsys):
    """The one line with which ``main`` refuses, in this process."""

    def refused(*arguments):
        capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        assert code == 2, said
        assert said.out == ""
        assert re.fullmatch(r"adbench[ \w]*: error: [^\n]+\n", said.err), said.err
        return said.err

    return refused


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Results with their fitted models, held-out scores and maps, of the toys."""
    folder = tmp_path_factory.mktemp("predict") / "results"
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none,toy-dim")
    command = ["run", "--plugins", TOYS, *options, "--keep-models", "--validation", "0.6"]
    assert main([*command, "--device", "cpu", "--keep-maps", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copied(fitted, tmp_path):
    """A copy of ``fitted`` that a test may change."""
    return Path(shutil.copytree(fitted, tmp_path / "copy"))


@pytest.fixture
def exchanged(copied):
    """Gives a trial's file of a suffix to another trial; returns the result of the latter."""

    def exchange(suffix):
        first, second, *_ = Store(copied).read()
        names = [copied / "trials" / f"{one.trial.id}.{suffix}" for one in (second, first)]
        shutil.copy(*names)
        return first

    return exchange


@pytest.fixture(scope="module")
def root():
    """Where the toys' images are."""
    return folders.locate(plugins.load([TOYS]).get("dataset", "toy-data")(), None, {})


@pytest.fixture
def one():
    """The options that select a result."""

    def options(result):
        names = ("category", "preprocessor")
        pairs = [f"{name}={getattr(result.trial, name)}" for name in names]
        return [word for pair in pairs for word in ("--only", pair)]

    return options


@pytest.fixture
def predicted(tmp_path, capsys):
    """Runs ``adbench predict``; gives the lines of its CSV, and what it said."""

    def run(fitted, *arguments, code=0):
        out = tmp_path / "scores.csv"
        arguments = [*map(str, arguments), "--plugins", TOYS, "--device", "cpu"]
        assert main(["predict", str(fitted), *arguments, "-o", str(out)]) == code
        said = capsys.readouterr()
        rows = list(csv.DictReader(out.open())) if out.exists() else []
        return rows, " ".join(said.err.split())

    return run
