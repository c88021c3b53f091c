"""Many trials with random faults: every one is accounted for, and memory stays flat.

``ADBENCH_SOAK=2000 pytest tests/test_soak.py`` takes about a quarter of an hour; add ``-s`` for the
memory at 10%, 50% and 100% of the trials.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import soak

COUNT = int(os.environ.get("ADBENCH_SOAK", "30"))
EXPECTED = {
    "none": "ok",
    "raise": "fit: ValueError: number Nx+",
    "nan": "predict: AnomalyMap holds a value that is not finite",
    "exit": "fit: SystemExit: 0",
    "os-exit": "process: the trial's process ended with exit code 0",
    "kill": "process: the trial's process was killed by SIGKILL",
    "hang": "process: the trial's process took longer than the limit of 6 s",
}
"""What is stored of each fault."""
ROOM = 40.0
"""MB by which a process may be larger in the second half of the trials than in the first.

A worker grows in steps of about 32 MB, so one step says nothing.
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("soak")
    script = str(Path(soak.__file__))
    done = subprocess.run(
        [sys.executable, script, str(COUNT), str(folder / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ADBENCH_CACHE": str(folder / "cache")},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_trial_is_accounted_for(ran: dict[str, Any]) -> None:
    assert (ran["reported"], ran["stored"]) == (COUNT, COUNT)
    kinds = [soak.fault(number) for number in range(COUNT)]
    assert ran["outcomes"].keys() == set(kinds) == EXPECTED.keys()
    for kind, outcomes in ran["outcomes"].items():
        assert sum(outcomes.values()) == kinds.count(kind)
        for outcome in outcomes.keys() - {EXPECTED["hang"]}:
            assert re.fullmatch(EXPECTED[kind], outcome), (kind, outcomes)
    # On a busy machine, a good trial may take too long as well.
    late = sum(outcomes.get(EXPECTED["hang"], 0) for outcomes in ran["outcomes"].values())
    assert kinds.count("hang") <= late <= kinds.count("hang") + 1 + COUNT // 50


def test_nothing_is_left_behind(ran: dict[str, Any]) -> None:
    assert (ran["stray"], ran["workers left"]) == ([], 0)


@pytest.mark.parametrize("who", ["driver", "workers"])
def test_memory_is_flat(ran: dict[str, Any], who: str) -> None:
    curve = ran[who]
    early, middle, last = (curve[int(share * (COUNT - 1))] for share in (0.1, 0.5, 1.0))
    print(f"{who}: {early:.1f}, {middle:.1f}, {last:.1f} MB; {ran['seconds']:.0f} s")
    assert early > 0
    # A fresh worker grows in its first trials, and faults make many fresh workers.
    half = COUNT // 2
    assert max(curve[half:]) - max(curve[:half]) < ROOM
