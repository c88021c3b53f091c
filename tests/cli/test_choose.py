from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.cli import main

CI = Path(__file__).parents[2] / "leaderboards/ci"


def test_a_board_is_asked(capsys):
    options = ("--only", "dataset=mini", "--max-ms", "1e9", "--max-mb", "1e9")
    assert main(["choose", str(CI), *options]) == 0
    said = capsys.readouterr().out
    assert "Pareto" in said
    assert "patchcore · nn" in said


def test_none_is_said_with_the_reasons(capsys):
    assert main(["choose", str(CI), "--only", "dataset=mini", "--max-ms", "0.001"]) == 1
    said = capsys.readouterr()
    assert "left out: patchcore · nn: " in said.out
    assert said.err == "adbench: no row satisfies the limits\n"


@pytest.mark.parametrize("text", ["2", "0.9@", "0.9@1", "0.9@x", "x"])
def test_a_recall_that_is_none_is_refused(text, capsys):
    assert main(["choose", str(CI), "--min-recall", text]) == 2
    assert f"--min-recall '{text}' is not SHARE@RATE, such as 0.95@0.01" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max-ms", "--max-mb"])
@pytest.mark.parametrize("value", ["0", "nan", "inf", "much"])
def test_a_limit_is_above_0(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["choose", str(CI), option, value])
    assert ended.value.code == 2
    assert f"'{value}' is not a number above 0" in capsys.readouterr().err
