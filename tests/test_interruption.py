"""After a kill, a full disk or a second run, all that was reported is stored, and nothing half.

``ADBENCH_KILLS`` sets the number of kills.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import drivers
from adbench_harness import session
from adbench_harness.engines import template
from adbench_harness.errors import UserError
from adbench_harness.listener import Listener
from adbench_harness.results.store import PROCESS, Failure, Store, TrialResult
from drivers import COUNT, lines

KILLS = int(os.environ.get("ADBENCH_KILLS", "10"))
SLOW = """
import os, time
from typing import ClassVar
from toys import ToyModel

class Slow(ToyModel):
    '''Writes down each fit.'''
    name: ClassVar[str] = "slow"
    def __init__(self, *, number: int = 0, note: str = "") -> None:
        self.gain = 1.0 + number
        self.number, self.note = number, note
    def fit(self, train, tools):
        with open(self.note, "a") as file:
            file.write(f"{self.number} {train.size}\\n")
        time.sleep(0.05)
        return super().fit(train, tools)

@hookimpl
def adbench_models():
    return [Slow]
"""


@pytest.fixture
def start(
    toys: str, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> Iterator[Callable[[], Any]]:
    slow = plugin_file("slow", SLOW)
    started = []

    def begin() -> Any:
        process = template.context().Process(target=drivers.perform, args=(toys, slow, tmp_path))
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def test_a_driver_that_is_killed_at_any_moment(start: Callable[[], Any], tmp_path: Path) -> None:
    draw = random.Random(0)
    store = Store(tmp_path / "out")
    done: dict[str, int] = {}
    for _ in range(KILLS):
        before = len(lines(tmp_path / "note"))
        numbers = {r.trial.model.params["number"] for r in store.read() if r.trial.id in done}
        process = start()
        deadline = time.monotonic() + 60
        while len(lines(tmp_path / "note")) == before and process.exitcode is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.25))
        process.kill()
        process.join()
        # Everything that was reported is stored, can be read, and is never written again.
        now = store.stamps()
        assert set(lines(tmp_path / "reported")) <= store.finished() == now.keys()
        assert done.items() <= now.items()
        for result in store.read():
            assert store.images(result.trial)["score"].shape == (8,)
            assert store.maps(result.trial) is not None
        # Nothing that was stored runs again.
        ran = {int(line.split()[0]) for line in lines(tmp_path / "note")[before:]}
        assert not ran & numbers
        done = now
        if len(done) == COUNT:
            for path in (*(tmp_path / "out").rglob("*.json"), tmp_path / "reported"):
                path.unlink(missing_ok=True)
            done = {}
    last = start()
    last.join(60)
    assert last.exitcode == 0
    assert len(store.finished()) == COUNT
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_two_runs_into_one_folder_share_the_work(start: Callable[[], Any], tmp_path: Path) -> None:
    runs = [start(), start(), start()]
    for run in runs:
        run.join(90)
        assert run.exitcode == 0
    assert sorted(int(line.split()[0]) for line in lines(tmp_path / "note")) == list(range(COUNT))
    assert len(lines(tmp_path / "reported")) == COUNT
    assert len(Store(tmp_path / "out").finished()) == COUNT


def test_a_run_takes_over_what_a_killed_one_had_claimed(
    start: Callable[[], Any], tmp_path: Path
) -> None:
    runs = [start(), start()]
    deadline = time.monotonic() + 60
    while len(lines(tmp_path / "note")) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    runs[0].kill()
    runs[1].join(90)
    assert runs[1].exitcode == 0
    assert len(Store(tmp_path / "out").finished()) == COUNT
    numbers = sorted(int(line.split()[0]) for line in lines(tmp_path / "note"))
    assert set(numbers) == set(range(COUNT))
    assert len(numbers) <= COUNT + 1, "only the trial that was lost ran twice"


def test_a_trial_that_ended_its_process_runs_last(
    toys: str, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    plan = drivers.prepared(toys, plugin_file("slow", SLOW), tmp_path)
    deadly = plan.plan.trials[0]
    plan.store.make()
    plan.store.write(
        TrialResult(deadly, "failed", failures=(Failure(PROCESS, "killed by SIGKILL", ""),))
    )
    session.perform(plan)
    order = [int(line.split()[0]) for line in lines(tmp_path / "note")]
    assert order == [*range(1, COUNT), 0]


def test_stray_files_are_swept_unless_another_run_may_write_them(
    start: Callable[[], Any], toys: str, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    stray = tmp_path / "out" / "trials" / "x.tmp"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half")
    plan = drivers.prepared(toys, plugin_file("slow", SLOW), tmp_path)
    session.perform(plan)
    assert not stray.exists()


DISK = """
import subprocess, sys
from pathlib import Path
import drivers
from adbench_harness.errors import UserError

toys, slow, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
out = folder / "out"
out.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "none", out], check=True)
try:
    drivers.perform(toys, slow, folder)
except UserError as error:
    print(error)
print(len(list(out.rglob("*.json"))), len(list(out.rglob("*.tmp"))))
subprocess.run(["mount", "-o", "remount,ro", out], check=True)
try:
    drivers.perform(toys, slow, folder)
except UserError as error:
    print(error)
subprocess.run(["mount", "-o", "remount,rw,size=9m", out], check=True)
drivers.perform(toys, slow, folder)
print(len(list(out.rglob("*.json"))))
"""


def test_a_disk_that_is_full_or_cannot_be_written(
    toys: str, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    own = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*own, "true"]).returncode:
        pytest.skip("this machine does not let a test mount a disk of its own")
    done = subprocess.run(
        [*own, sys.executable, "-c", DISK, toys, plugin_file("slow", SLOW), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    full, left, forbidden, whole = done.stdout.splitlines()
    assert "(No space left on device); make room, and the same command goes on" in full
    stored, stray = map(int, left.split())
    assert 0 < stored < COUNT
    assert stray == 0
    assert "cannot be written to (Read-only file system); name another folder" in forbidden
    assert int(whole) == COUNT
    assert len(lines(tmp_path / "note")) == COUNT + 1


class Full(Listener):
    """Fills the disk after three trials."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.count = patch, 0

    def trial(self, result: TrialResult) -> None:
        self.count += 1
        if self.count == 3:

            def full(file: Any, **_: Any) -> None:
                file.write(b"half")
                raise OSError(28, "No space left on device")

            self.patch.setattr(np, "savez_compressed", full)


def test_a_full_disk_ends_the_run_with_one_line_and_the_same_command_goes_on(
    toys: str, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    plan = drivers.prepared(toys, plugin_file("slow", SLOW), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        with pytest.raises(UserError, match=r"No space left.*; make room, and the same command"):
            session.perform(plan, progress=Full(patch))
        assert len(plan.store.finished()) == 3
        assert not list((tmp_path / "out").rglob("*.tmp"))
    session.perform(plan)
    assert len(plan.store.finished()) == COUNT
    assert len(lines(tmp_path / "note")) == COUNT + 1
