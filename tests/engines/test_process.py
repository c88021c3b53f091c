from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch
from threadpoolctl import threadpool_info

from adbench_harness.engines import process


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_library_without_malloc_options_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    loaded = []

    def load(name: None) -> Any:
        loaded.append(name)
        if error is OSError:
            raise OSError("there is no such library")
        return SimpleNamespace()  # which lacks mallopt

    monkeypatch.setattr(process.ctypes, "CDLL", load)
    process.reuse_memory()
    assert loaded == [None]


@pytest.mark.parametrize(("written", "threads"), [("", 1), ("3", 3), ("0", 1), ("4,2", 1)])
def test_the_default_does_not_depend_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, written: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", written)
    assert process.default_threads() == threads


def test_every_library_gets_the_threads_and_has_its_own_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads(), cv2.getNumThreads()
    with process.threads(3):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 3)
        assert {pool["num_threads"] for pool in threadpool_info()} == {3}
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "3"
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "MKL_NUM_THREADS" not in os.environ
