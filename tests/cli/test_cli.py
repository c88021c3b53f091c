from __future__ import annotations

import pytest

from adbench_harness import __version__
from adbench_harness.cli import parser

COMMANDS = (
    *("run", "leaderboard", "plot", "report", "compare", "rescore", "timings", "fill"),
    *("list", "show", "data", "weights", "new", "check", "reference", "doctor"),
)


def test_help_names_every_command(adbench):
    done = adbench("--help")
    assert done.code == 0
    assert not done.heavy
    for command in (*COMMANDS, "completion"):
        assert f"\n    {command}" in done.out


@pytest.mark.parametrize("command", [*COMMANDS, "completion"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    assert f"adbench {command}" in capsys.readouterr().out


def test_version(adbench):
    done = adbench("--version")
    assert (done.code, done.out) == (0, f"adbench {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "adbench: error: the following arguments are required: COMMAND"),
        (("runn",), "adbench: error: argument COMMAND: invalid choice: 'runn'"),
        (("run", "--plugin", "x"), "adbench run: error: unrecognized arguments: --plugin;"),
        (("list", "--jsno"), "adbench list: error: unrecognized arguments: --jsno;"),
        (
            ("timings", "a", "b"),
            "adbench timings: error: one folder of results is read, not also 'b'; copy the files",
        ),
        (
            ("plot", "--curves"),
            "adbench plot: error: the following arguments are required: -o/--output; -o FILE is",
        ),
        (("leaderboard", "--format", "pdf"), "adbench leaderboard: error: argument --format:"),
        (("run", "--eval-size", "big"), "adbench run: error: argument --eval-size: invalid int"),
        (("run", "--plugins", "nobody"), "adbench: error: unknown plugin 'nobody'"),
        (("show", "nn", "--plugins", "patchcor"), "adbench: error: unknown plugin 'patchcor'"),
        (("data", "--plugins", "patchcor"), "adbench: error: unknown plugin 'patchcor'"),
        (("weights", "--plugins", "patchcor"), "adbench: error: unknown plugin 'patchcor'"),
        (("check", "nn", "--plugins", "patchcor"), "adbench: error: unknown plugin 'patchcor'"),
        (("run",), "adbench: error: no plugins are named"),
        (("run", "none.toml"), "adbench: error: suite file 'none.toml' does not exist"),
    ],
)
def test_a_mistake_is_one_line_at_once(adbench, arguments, line):
    done = adbench(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith(line)
    assert done.err.count("\n") == 1
    assert not done.heavy


def test_the_nearest_option_is_offered(error):
    assert "did you mean '--plugins'?" in error("run", "--plugin", "x")
    assert "did you mean '--per-category'?" in error("leaderboard", "--percategory")


def test_a_reader_who_has_had_enough_is_no_error(adbench):
    process = adbench.start("run", "--help")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_completion_knows_commands_options_and_plugins(adbench, tmp_path):
    done = adbench("completion")
    assert done.code == 0
    assert not done.heavy
    assert "complete " in done.out

    def completed(line):
        found = tmp_path / "found"
        done = adbench(
            _ARGCOMPLETE="1",
            _ARGCOMPLETE_STDOUT_FILENAME=str(found),
            _ARGCOMPLETE_SHELL="bash",
            _ARGCOMPLETE_IFS="\n",
            COMP_LINE=line,
            COMP_POINT=str(len(line)),
        )
        assert not done.heavy
        return [word.strip() for word in found.read_text().splitlines()]

    assert set(COMMANDS) <= set(completed("adbench "))
    assert completed("adbench run --plug") == ["--plugins"]
    assert completed("adbench run --plugins patchc") == ["patchcore"]
