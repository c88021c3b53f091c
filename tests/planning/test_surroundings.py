from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from adbench_harness.planning.surroundings import Surroundings, deterministic

CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "environment": (lambda: dict(os.environ), os.environ.clear),
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(5)),
    "gradients": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "anomalies": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "deterministic": (
        torch.are_deterministic_algorithms_enabled,
        lambda: torch.use_deterministic_algorithms(True),
    ),
    "numpy": (np.geterr, lambda: np.seterr(all="raise")),
    "recursion": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(4321)),
    "warnings": (lambda: list(warnings.filters), lambda: warnings.simplefilter("error")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_undone(what: str) -> None:
    read, change = CHANGES[what]
    before, here = read(), Surroundings()
    change()
    assert read() != before
    here.restore()
    assert read() == before


def test_what_was_imported_keeps_its_environment_and_its_warnings() -> None:
    before, here = torch.get_default_dtype(), Surroundings()
    for name in ("environment", "warnings", "dtype"):
        CHANGES[name][1]()
    os.environ["OWN"] = "1"
    here.restore(imported=True)
    assert dict(os.environ) == {"OWN": "1"}
    assert warnings.filters[0][0] == "error"
    assert torch.get_default_dtype() == before
    here.restore()
    assert "OWN" not in os.environ


def test_deterministic_algorithms_end_with_the_block() -> None:
    before = dict(os.environ)
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        here = Surroundings()
        torch.use_deterministic_algorithms(False)
        here.restore()
        assert torch.are_deterministic_algorithms_enabled(), "a component cannot leave it"
    assert not torch.are_deterministic_algorithms_enabled()
    assert dict(os.environ) == before
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_deleted_working_directory_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Surroundings()
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    here.restore()
    assert Path.cwd() == tmp_path
