# PYTHON_ARGCOMPLETE_OK
"""The command ``adbench``: one module per sub-command, with its parser and its handler.

Only the standard library is imported before a command's arguments are known to
be valid, so that help, completion and errors appear at once.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from adbench_harness import __version__, terminal
from adbench_harness.cli import (
    check,
    choose,
    compare,
    data,
    doctor,
    export,
    fill,
    leaderboard,
    new,
    options,
    plot,
    predict,
    reference,
    report,
    rerun,
    rescore,
    run,
    scores,
    show,
    timings,
    weights,
)
from adbench_harness.cli import list as list_
from adbench_harness.errors import ContractError, Interrupted, UserError, no_room

_COMMANDS = (
    *(run, leaderboard, choose, plot, report, predict, export, scores, rescore, compare, rerun),
    *(timings, fill, list_, show, data, weights, new, check, reference, doctor),
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest valid option."""

    def error(self, message: str) -> NoReturn:
        import difflib

        words = message.removeprefix("unrecognized arguments: ").split()
        match = difflib.get_close_matches(words[0], self._option_string_actions, n=1)
        hint = f"; did you mean '{match[0]}'?" if match and words[0].startswith("-") else ""
        if message.startswith("the following arguments are required: -"):
            needed = (action for action in self._actions if action.required)
            hint = "".join(f"; {a.option_strings[0]} {a.metavar} is the {a.help}" for a in needed)
        options.tell(f"error: {message}{hint} (see {self.prog} --help)", self.prog)
        self.exit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(
        prog="adbench",
        description="Benchmark visual anomaly detection: each paper is a plugin, each combination "
        "is a row of the leaderboard.",
        epilog="Start with: adbench run --plugins patchcore,bgfilter",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"adbench {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        name = module.__name__.rpartition(".")[2]
        sub = commands.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, allow_abbrev=False
        )
        module.arguments(sub)
        sub.set_defaults(handler=module.handle, sub=sub)
    commands.add_parser(
        "completion", help=_completion.__doc__, description=_completion.__doc__
    ).set_defaults(handler=_completion)
    return top


def _completion(_: argparse.Namespace) -> int:
    """Print the code for command completion in bash or zsh: eval "$(adbench completion)"."""
    import argcomplete

    print(argcomplete.shellcode(["adbench"]))  # type: ignore[attr-defined]
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 (success), 1 (a trial failed or is worse) or 2 (bad request)."""
    # Threads that spin while they wait make a shared machine many times slower; torch reads this
    # variable when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    with terminal.cleaned():
        return _guarded(arguments)


def _guarded(arguments: Sequence[str] | None) -> int:
    """Answer; errors that a user can cause are one line."""
    try:
        try:
            return _answer(arguments)
        finally:
            sys.stdout.flush()  # a closed pipe raises here and not at exit
    except (UserError, ContractError) as error:
        return _refused(str(error))
    except KeyboardInterrupt as error:
        known = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        during = f" during {known.what}: if it hangs, fix it or leave it out" * bool(known.what)
        options.tell(f"interrupted{during}; run the same command again to continue")
        return 128 + known.number
    except BrokenPipeError:
        # The reader (such as head) closed the pipe; Python must not print an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PermissionError as error:
        if not error.filename:
            raise
        return _refused(f"'{error.filename}': {error.strerror}; correct its permissions")
    except OSError as error:
        if not no_room(error):
            raise
        place = f"'{error.filename}' cannot be written" if error.filename else "cannot go on"
        return _refused(f"{place} ({error.strerror}); make room, and the same command goes on")


def _refused(reason: str) -> int:
    options.tell(f"error: {reason}")
    return 2


def _answer(arguments: Sequence[str] | None) -> int:
    top = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        import argcomplete

        argcomplete.autocomplete(top)
    given, unknown = top.parse_known_args(arguments)
    if unknown and "results" in given and not unknown[0].startswith("-"):
        given.sub.error(
            f"one folder of results is read, not also '{unknown[0]}'; copy the files of its folder "
            f"'trials' into that of '{given.results}', or give both runs the same --out"
        )
    if unknown:
        getattr(given, "sub", top).error(f"unrecognized arguments: {' '.join(unknown)}")
    return int(given.handler(given))
