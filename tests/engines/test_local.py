"""Worker processes: the same numbers, nothing lost, nothing run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from adbench_harness.engines.inline import Inline
from adbench_harness.engines.local import OUTPUTS, Local
from adbench_harness.results import scratch
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Bundle

Planned = Callable[..., tuple[Bundle, ...]]
Fits = Callable[[], list[tuple[float, int, int]]]
PROBES = str(Path(__file__).parents[1] / "probes.py")


def identity(bundle: Bundle) -> Bundle:
    return bundle


def nothing(*_: object) -> None:
    pass


def numbers(results: Iterable[TrialResult]) -> dict[str, object]:
    """Everything of a result that must not depend on the engine."""
    return {
        r.trial.id: (
            r.status,
            {n: v for n, v in r.metrics.items() if n.endswith("auroc") or n in ("params", "flops")},
            r.intervals,
            r.flags,
            {name: values.tolist() for name, values in r.images.items()},
            {name: values.tolist() for name, values in r.curves.items()},
        )
        for r in results
    }


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_numbers_are_the_same_bit_for_bit(planned: Planned, workers: int) -> None:
    bundles = planned(
        PROBES,
        models="toy-mean,toy-trained,probe-features",
        augmenters="none,toy-square",
        preprocessors="none,toy-dim",
        scorers="toy-map,toy-fitted",
        seeds=2,
    )
    assert len(bundles) == 4
    expected = numbers(Inline()(bundles, identity, nothing))
    found = list(Local(workers)(bundles, identity, nothing))
    assert numbers(found) == expected
    assert len(found) == len(expected)
    assert {r.provenance["threads"] for r in found} == {1}


def test_bundles_run_at_the_same_time_and_those_of_others_are_left_out(
    planned: Planned, slow: str, fits: Fits, tmp_path: Path
) -> None:
    settings = {"slow.number": [0, 1], "slow.note": str(tmp_path / "note"), "slow.seconds": 1.0}
    bundles = planned(slow, models="slow", preprocessors="none,toy-dim", set=settings)
    taken = bundles[1]
    stages = set()

    def begin(bundle: Bundle) -> Bundle | None:
        return None if bundle == taken else bundle

    engine = Local(2)
    found = list(engine(bundles, begin, lambda name, done, total: stages.add(name)))
    wanted = {t.id for b in bundles if b != taken for t in b.trials}
    assert {r.trial.id for r in found} == wanted
    assert stages >= {"images", "score"}
    starts = sorted(when for when, *_ in fits())
    assert len(starts) == 6
    assert len({pid for _, pid, _ in fits()}) == 2
    assert starts[1] - starts[0] < 0.9, "the second worker did not wait for the first"


CLOCK = """
import os, time
from typing import ClassVar
from toys import ToyModel

class Clock(ToyModel):
    '''Writes down when it works, and when it is measured.'''
    name: ClassVar[str] = "clock"
    def __init__(self, *, number: int = 0, note: str = "") -> None:
        self.gain = 1.0 + number
        self.note = note
    def write(self, *words):
        with open(self.note, "a") as file:
            print(*words, os.getpid(), file=file)
    def fit(self, train, tools):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            self.write("works", time.monotonic())
            time.sleep(0.005)
        return super().fit(train, tools)
    def predict(self, batch):
        if batch.handles is None:
            start = time.monotonic()
            time.sleep(0.1)
            self.write("measured", start, time.monotonic())
        return super().predict(batch)

@hookimpl
def adbench_models():
    return [Clock]
"""


def test_times_are_measured_while_the_others_wait(
    planned: Planned, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    note = tmp_path / "note"
    clock = plugin_file("clock", CLOCK)
    settings = {"clock.number": [0, 1], "clock.note": str(note)}
    results = list(Local(2)(planned(clock, models="clock", set=settings), identity, nothing))
    assert [r.status for r in results] == ["ok"] * 4
    lines = [line.split() for line in note.read_text().splitlines()]
    works = [(float(line[1]), line[2]) for line in lines if line[0] == "works"]
    measured = [
        (float(a), float(b), pid)
        for word, a, b, *rest in (
            (line[0], line[1], line[2], line[3]) for line in lines if line[0] == "measured"
        )
        for pid in rest
    ]
    assert len(measured) >= 4 * 5
    assert len({pid for *_, pid in measured}) == 2
    beside = [
        when - start
        for start, end, pid in measured
        for when, other in works
        if other != pid and start + 0.05 < when < end
    ]
    assert beside == []


def test_a_model_that_ends_the_preparation_is_found_by_trying_each_alone(
    planned: Planned, plugin_file: Callable[[str, str], str]
) -> None:
    body = """
import multiprocessing, os
from typing import ClassVar
from toys import ToyModel

class Fatal(ToyModel):
    '''Ends the process that constructs it, except for the driver.'''
    name: ClassVar[str] = "fatal"
    def __init__(self) -> None:
        self.gain = 1.0
        if multiprocessing.parent_process() is not None:
            os._exit(7)

@hookimpl
def adbench_models():
    return [Fatal]
"""
    (bundle,) = planned(
        plugin_file("fatal", body),
        datasets="toy-data/dark",
        models="fatal,toy-mean,toy-trained",
        scorers="toy-map,toy-fitted",
    )
    found = list(Local(1)([bundle], identity, nothing))
    failed = {r.trial.model.name: r.failures[0].message for r in found if r.failures}
    assert failed == {"fatal": "the trial's process ended with exit code 7"}
    assert sorted(r.trial.model.name for r in found if r.status == "ok") == [
        *["toy-mean"] * 2,
        *["toy-trained"] * 2,
    ]


def test_workers_that_are_killed_at_any_moment_cost_only_what_they_run(
    planned: Planned, slow: str, tmp_path: Path
) -> None:
    settings = {"slow.number": list(range(12)), "slow.note": str(tmp_path / "note")}
    bundles = planned(slow, models="slow", set={**settings, "slow.seconds": 0.2})
    me, killed = psutil.Process(), 0
    found = []
    for result in Local(2)(bundles, identity, nothing):
        found.append(result)
        if len(found) % 3 == 0 and killed < 6:
            workers = [p for p in me.children(recursive=True) if _is_worker(p)]
            if workers:
                workers[killed % len(workers)].kill()
                killed += 1
    assert killed >= 4
    wanted = sorted(t.id for b in bundles for t in b.trials)
    assert sorted(r.trial.id for r in found) == wanted
    failed = [r for r in found if r.failures]
    assert 0 < len(failed) <= killed
    assert {r.failures[0].message for r in failed} == {"the trial's process was killed by SIGKILL"}


def _is_worker(process: psutil.Process) -> bool:
    """Whether a process is a copy of the template: it leads a session of its own."""
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for that of a socket in it."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_temporary_folder_with_a_long_path_is_named(toys: str, tmp_path: Path) -> None:
    temporary = tmp_path / ("long" * 25)
    temporary.mkdir()
    command = "import sys; from adbench_harness.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", command, "run", "--plugins", toys, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)},
    )
    assert done.returncode == 2
    assert "let TMPDIR name a folder with a short path" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_driver(
    number: int, toys: str, slow: str, tmp_path: Path, short: Path, fits: Fits
) -> None:
    command = [
        *(
            sys.executable,
            "-c",
            "import sys; from adbench_harness.cli import main; sys.exit(main())",
        ),
        *("run", "--plugins", f"{toys},{slow}"),
        *("--models", "slow", "--scorers", "toy-map", "--preprocessors", "none", "--workers", "2"),
        *("--set", f"slow.note={tmp_path / 'note'}", "--set", "slow.seconds=300.0"),
        *("--out", str(tmp_path / "out")),
    ]
    temporary = short
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)}
    environment = {**os.environ, **paths}
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "note").exists() or len(fits()) < 2:
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes = psutil.Process(driver.pid).children(recursive=True)
    assert len(processes) >= 3, "the template and two workers"
    driver.send_signal(number)
    _, said = driver.communicate(timeout=30)
    if number == signal.SIGKILL:
        assert driver.returncode == -number
    else:
        assert said.endswith("interrupted; run the same command again to continue\n")
        assert driver.returncode == 128 + number
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []
    assert not list((tmp_path / "out").rglob("*.json"))
    # What a killed driver leaves in the system's folder is deleted by the next run.
    left = list(temporary.glob(f"{OUTPUTS}*"))
    assert len(left) == (number == signal.SIGKILL)
    with scratch.folder(OUTPUTS, temporary):
        assert not any(path.exists() for path in left)


def test_a_script_without_a_guarded_main_may_use_workers(toys: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from adbench_harness.api import run\n"
        f"found = run(plugins=[{toys!r}], datasets='toy-data/dark', models='toy-mean',\n"
        f"            scorers='toy-map', out={str(tmp_path / 'out')!r}, workers=2)\n"
        "print('rows', len(found))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.count("rows 2") == 1
