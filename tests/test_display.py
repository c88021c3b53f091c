from __future__ import annotations

import re
from pathlib import Path

import pytest

from adbench_harness.display import Display
from adbench_harness.errors import clean
from adbench_harness.results.store import TrialResult
from test_timeleft import bundles


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
    with Display() as display:
        display.started(0, 1, Path("out"))
        for picks in (0, 100, 200):
            clock.now = picks / 10
            display.stage("fit", picks, 36_200)
    assert "1:00:00" in last(capsys.readouterr().err, "fit")


@pytest.mark.parametrize("name", ["images", "fit"])
def test_a_new_stage_of_the_same_length_is_not_done(
    name: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        display.started(0, 1, Path("out"))
        display.stage("images", 5, 5)
        clock.now = 60
        display.stage(name, 1, 5)
    line = last(capsys.readouterr().err, name)
    assert "1/5" in line
    assert "-:--:--" in line


def test_what_a_run_says_once_goes_to_stdout_beside_live_bars(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        display.note("a note")
        display.started(2, 3, Path("out"))
        display.bundle("toy-data/dark")
        display.finished(5.2)
    said = capsys.readouterr()
    assert said.out == "2 of 3 trials are in out already\n1 trial in 5 s; results in out\n\n"
    assert said.err.startswith("a note\n")
    assert "toy-data/dark" in said.err


def test_the_bars_are_removed_when_a_run_breaks_off(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display()

    def broken_off() -> None:
        with display:
            display.started(0, 1, Path("out"))
            assert display._progress.live.is_started
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert not display._progress.live.is_started
    assert capsys.readouterr().out == ""


def test_a_download_has_a_bar_on_a_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display, display.transfer("images.zip") as progress:
        progress(500, 1000)
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", capsys.readouterr().err)
    assert "images.zip" in shown
    assert "500/1000 bytes" in shown or "0.5/1.0 kB" in shown


def test_a_download_has_no_bar_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display, display.transfer("images.zip") as progress:
        progress(500, None)
    assert capsys.readouterr() == ("", "")


def test_elsewhere_each_trial_is_a_line_and_the_third_says_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr("adbench_harness.display.time.monotonic", clock)
    plan = bundles(1, {"patchcore": 1}, seeds=10)
    with Display() as display:
        display.started(0, 10, Path("out"))
        display.planned(plan)
        for trial in plan[0].trials:
            clock.now += 60
            display.trial(TrialResult(trial, "ok"))
    lines = capsys.readouterr().err.splitlines()
    left = [line.partition(": ok")[2] for line in lines]
    minutes = [f", about {n} min left" for n in range(7, 1, -1)]
    assert left == ["", "", *minutes, ", about 60 s left", ""]


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    "name", ["x[/b].csv", "[link=http://a]x", "[red]", "\x1b[2J\x07", "\u202ex"]
)
def test_no_name_is_markup_or_acts_on_the_terminal(
    name: str, live: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if live:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    with Display() as display:
        display.note(name)
        with display.transfer(name) as progress:
            progress(1, 2)
        display.started(0, 1, Path("out"))
        display.bundle(name)
        display.stage(name, 1, 2)
        display.observer_failed("o", ValueError(name))
        display.finished(1.0)
    said = capsys.readouterr()
    assert clean(name) in said.err
    for acting in ("\x1b[2J", "\x07", "\u202e", "\x1b]8"):
        assert acting not in said.err
