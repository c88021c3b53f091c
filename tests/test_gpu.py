"""``tests/gpu.sh`` at toy size on the CPU, and what it does with steps that go wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

from adbench_harness.running.checkpoint import FileCheckpoint

SCRIPT = Path(__file__).with_name("gpu.sh")


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_it_runs_at_toy_size_and_needs_no_installation(tmp_path: Path) -> None:
    out = tmp_path / "out"
    toy = ("--device", "cpu", "--preset", "smoke", "--steps", "6", "--dataset", "mini/brick")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ADBENCH_REAL")}
    done = subprocess.run(
        [SCRIPT, out, *toy, "--only", "twostage", "--state", tmp_path / "state"],
        env={**environment, "PYTHON": sys.executable},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + (out / "twostage.txt").read_text()
    place, twostage = (out / "summary.txt").read_text().splitlines()
    assert f"torch {torch.__version__}" in place
    assert twostage.startswith("twostage: ok, ")
    with zipfile.ZipFile(out / "twostage.zip") as results:
        assert any(name.endswith(".json") for name in results.namelist())
    assert len(list(out.iterdir())) <= 8, "more files are not copied back from every machine"


def steps(gpu: ModuleType, tmp_path: Path, *arguments: str) -> dict[str, object]:
    """The script's steps by name."""
    before, sys.argv = sys.argv, ["gpu.py", str(tmp_path), *arguments]
    try:
        return {step.name: step for step in gpu._steps(gpu._arguments(), tmp_path)}
    finally:
        sys.argv = before


def test_every_marked_test_is_run(gpu: ModuleType, tmp_path: Path) -> None:
    command = steps(gpu, tmp_path)["tests"].command  # type: ignore[attr-defined]
    here = Path(__file__).parent
    marked = {p for p in here.rglob("test_*.py") if "mark." + "gpu" in p.read_text()}
    assert marked
    assert {Path(part) for part in command if part.endswith(".py")} == marked


def test_what_cannot_run_is_named(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADBENCH_REAL_DATA", raising=False)
    step = steps(gpu, tmp_path)["twostage"]
    summary = tmp_path / "summary.txt"
    assert gpu._run(step, tmp_path, summary, {}, time.monotonic() + 60) == 1
    assert summary.read_text() == ("twostage: left out, since ADBENCH_REAL_DATA names no folder\n")
    monkeypatch.setenv("ADBENCH_REAL_DATA", "/real")
    step = steps(gpu, tmp_path)["twostage"]
    assert step.lacks == ""  # type: ignore[attr-defined]
    assert step.command[-1] == "/real/data"  # type: ignore[attr-defined]
    assert "twostage:preset=paper:steps=20000" in step.command  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "said", "failed"),
    [
        ("print('well')", "ok, ", 0),
        ("print('why'); raise SystemExit(3)", "failed with exit code 3, ", 1),
        ("import time; time.sleep(60)", "ended after its limit of ", 1),
        (
            "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)",
            "ended after its limit of ",
            1,
        ),
    ],
)
def test_a_step_that_goes_wrong_is_noted(
    gpu: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    said: str,
    failed: int,
) -> None:
    monkeypatch.setattr(gpu, "GRACE", 0.3)
    step = gpu.Step("tests", [sys.executable, "-c", code], 1.0)
    start = time.monotonic()
    found = gpu._run(step, tmp_path, tmp_path / "summary.txt", dict(os.environ), start + 1.5)
    assert found == failed
    assert (tmp_path / "summary.txt").read_text().startswith(f"tests: {said}")
    assert time.monotonic() - start < 30


def test_a_training_that_goes_on_later_is_no_failure(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "GRACE", 0.3)
    step = gpu.Step("twostage", [sys.executable, "-c", "import time; time.sleep(60)"], 1.0)
    late = time.monotonic() + 1.5
    assert gpu._run(step, tmp_path, tmp_path / "summary.txt", dict(os.environ), late) == 0
    checkpoint = FileCheckpoint(tmp_path / "checkpoints" / "a.pt")
    checkpoint.log("loss 1", 0.5)
    checkpoint.save({"stage": 1, "step": 70, "stages": {}})
    (line,) = gpu._training(tmp_path, tmp_path)
    assert line.startswith("twostage: stage 2 has done 70 steps, in ")
    assert json.loads((tmp_path / "twostage.json").read_text())["curves"] == {"loss 1": [0.5]}
