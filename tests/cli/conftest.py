from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
        from adbench_harness.cli import main

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
