from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adbench_harness.errors import UserError
from adbench_harness.results.claims import Claims

ONE, TWO = "00000000000000ff", "ffffffffffffffff"


def other(path: Path, code: str) -> str:
    """What a second process prints; locks of one process do not exclude each other."""
    start = (
        "from pathlib import Path; from adbench_harness.results.claims import Claims;"
        f"claims = Claims(Path({str(path)!r}));"
    )
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_trial_has_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    claims = Claims(path)
    assert claims.take(ONE)
    ask = f"print(claims.take({ONE!r}), claims.take({TWO!r}))"
    assert other(path, ask) == "False True"
    assert claims.take(TWO), "the system freed what the ended process had claimed"
    claims.release(ONE)
    assert other(path, ask) == "True False"
    claims.close()
    assert other(path, ask) == "True True"


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    with pytest.raises(UserError, match=r"claims' cannot be opened \(Is a directory\); delete it"):
        Claims(tmp_path / "claims")


def test_only_the_first_of_several_runs_sweeps(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    swept: list[str] = []
    claims = Claims(path)
    claims.enter(lambda: swept.append("here"))
    assert swept == ["here"]
    sweep = "claims.enter(lambda: print('there'))"
    assert other(path, sweep) == ""
    claims.close()
    assert other(path, sweep) == "there"
