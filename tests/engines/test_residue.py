from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from adbench_harness.engines.residue import Residue


def test_a_process_that_nobody_changed_has_none() -> None:
    before = Residue()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert before.found() == []


def test_what_cannot_be_undone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Residue()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "cat", None)
        patch.setattr(torch.nn.functional, "relu", lambda x: x)
        assert before.found() == ["torch.nn.functional.relu was replaced"]
        patch.setattr(torch, "cat", torch.stack)
        patch.setitem(sys.modules, "json", sys)
        assert before.found()[0] == "torch.cat was replaced"
        assert before.found()[-1] == "module json was replaced"
    assert before.found() == []


def test_threads_and_processes_that_go_on_are_found() -> None:
    before = Residue()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="leaked")
    thread.start()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = before.found()
    end.set()
    thread.join()
    child.communicate()
    assert found == ["thread leaked is running", f"process {child.pid} is running"]
    assert before.found() == []
