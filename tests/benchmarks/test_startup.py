"""How soon the command answers, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ADBENCH = str(Path(sys.executable).with_name("adbench"))


@pytest.mark.parametrize(("argument", "most"), [("--help", 6), ("list", 15)])
def test_answers_at_once(
    race: Callable[..., Any], benchmark: Any, argument: str, most: float
) -> None:
    def process(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    said, _ = race(
        f"`adbench {argument}`",
        lambda: process(ADBENCH, argument),
        "`python -c pass`",
        lambda: process(sys.executable, "-c", "pass"),
        rounds=10,
    )
    assert "patchcore" in said
    assert benchmark.extra_info["ratio"] > 1 / most
