from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adbench_harness.running.checkpoint import FileCheckpoint


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    state = {
        "step": 3,
        "name": "x",
        "rate": 0.5,
        "nested": {"weights": [torch.arange(3.0), None, True]},
        "generator": generator.get_state(),
    }
    checkpoint = FileCheckpoint(tmp_path / "deep/er.pt")
    assert checkpoint.load() is None
    checkpoint.save(state)
    found = FileCheckpoint(tmp_path / "deep/er.pt").load()
    assert found is not None
    assert found["step"] == 3
    assert torch.equal(found["nested"]["weights"][0], torch.arange(3.0))
    assert found["nested"]["weights"][1:] == [None, True]
    again = torch.Generator()
    again.set_state(found["generator"])
    assert torch.equal(torch.rand(4, generator=again), torch.rand(4, generator=generator))


def test_the_last_save_counts_and_clear_forgets(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "a.pt")
    checkpoint.clear()
    for step in range(3):
        checkpoint.save({"step": step})
    assert checkpoint.load() == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    checkpoint.clear()
    assert checkpoint.load() is None
    assert list(tmp_path.iterdir()) == []


def test_without_a_path_nothing_is_kept() -> None:
    checkpoint = FileCheckpoint(None)
    checkpoint.save({"step": 1})
    assert checkpoint.load() is None
    checkpoint.clear()


def test_a_save_that_is_killed_leaves_the_last_state(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    FileCheckpoint(path).save({"step": 1})
    code = (
        "import os, sys, torch; from pathlib import Path\n"
        "from adbench_harness.running.checkpoint import FileCheckpoint\n"
        "def save(state, file):\n"
        "    Path(file).write_bytes(b'half'); os._exit(9)\n"
        "torch.save = save\n"
        "FileCheckpoint(Path(sys.argv[1])).save({'step': 2})"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert FileCheckpoint(path).load() == {"step": 1}


def test_a_failed_save_leaves_the_last_state(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "a.pt")
    checkpoint.save({"step": 1})
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save({"step": lambda: None})
    assert checkpoint.load() == {"step": 1}


def test_two_trainings_do_not_meet(tmp_path: Path) -> None:
    FileCheckpoint(tmp_path / "a.pt").save({"step": 1})
    assert FileCheckpoint(tmp_path / "b.pt").load() is None


def test_curves_go_back_to_the_last_save(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "a.pt")
    checkpoint.log("loss", 3)
    checkpoint.save({"step": 1})
    checkpoint.log("loss", 2)
    resumed = FileCheckpoint(tmp_path / "a.pt")
    assert resumed.load() == {"step": 1}
    resumed.log("loss", 1)
    assert resumed.curves == {"loss": [3.0, 1.0]}


@pytest.mark.parametrize("content", [b"", b"text", None, {"other": 1}, [1]])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: object) -> None:
    path = tmp_path / "a.pt"
    checkpoint = FileCheckpoint(path)
    checkpoint.log("loss", 1.0)
    checkpoint.save({"step": 1})
    if content is None:
        path.write_bytes(path.read_bytes()[:-100])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    found = FileCheckpoint(path)
    assert found.load() is None
    assert found.curves == {}
    found.save({"step": 2})
    assert found.load() == {"step": 2}
