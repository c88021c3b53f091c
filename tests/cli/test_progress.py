from __future__ import annotations

import pytest

from adbench_harness.cli.progress import Display


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time on a terminal, which goes on when told."""
    clock = Clock()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.console.monotonic", clock)
    return clock


def last(shown: str, stage: str) -> str:
    return [line for line in shown.splitlines() if stage in line][-1]


def test_a_long_fit_shows_its_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(1) as display:
        for picks in (0, 100, 200):
            clock.now = picks / 10
            display.stage("fit", picks, 36_200)
    assert "1:00:00" in last(capsys.readouterr().err, "fit")


@pytest.mark.parametrize("name", ["images", "fit"])
def test_a_new_stage_of_the_same_length_is_not_done(
    name: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(1) as display:
        display.stage("images", 5, 5)
        clock.now = 60
        display.stage(name, 1, 5)
    line = last(capsys.readouterr().err, name)
    assert "1/5" in line
    assert "-:--:--" in line
