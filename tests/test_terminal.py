from __future__ import annotations

import io
import sys

import pytest

from adbench_harness import terminal

ATTACKS = {
    "\x1b[2J": "\ufffd[2J",
    "\x1b]0;title\x07": "\ufffd]0;title\ufffd",
    "\x1b]52;c;aGk=\x1b\\": "\ufffd]52;c;aGk=\ufffd\\",
    "a\rb": "a\ufffdb",
    "a\bb": "a\ufffdb",
    "\x9b2J": "\ufffd2J",
    "\u202eabc": "\ufffdabc",
    "\x1b[8mhidden": "\ufffd[8mhidden",
    "\udcff": "\\xff",
}


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_that_acts_on_a_terminal_is_written(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal.cleaned():
        print(text)
        print(text, file=sys.stderr)
        sys.stdout.writelines([text])
    said = capsys.readouterr()
    assert said.out == f"{ATTACKS[text]}\n{ATTACKS[text]}"
    assert said.err == f"{ATTACKS[text]}\n"


def test_text_lines_and_bold_are_written_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"ü 中文\ttab\n{terminal.BOLD}best{terminal.PLAIN} → ±1\n"
    with terminal.cleaned():
        assert sys.stdout.write(text) == len(text)
    assert capsys.readouterr().out == text


def test_everything_else_is_the_stream_s_own() -> None:
    stream = io.StringIO()
    cleaned = terminal.Cleaned(stream)
    assert not cleaned.isatty()
    cleaned.flush()
    assert cleaned.getvalue() == ""


def test_progress_bars_get_the_stream_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert terminal.console().file is stream
    with terminal.cleaned():
        assert terminal.console().file is stream
