"""``adbench fill``: writes the tables and plots of a Markdown file from the commands in it."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from pathlib import Path

from adbench_harness.cli import output
from adbench_harness.errors import UserError

SUMMARY = "Run the adbench commands in a Markdown file's comments and write their output into it."
COMMANDS = ("leaderboard", "plot", "reference")
_BLOCK = re.compile(r"(<!-- adbench (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a Markdown file, or a board")


def handle(given: argparse.Namespace) -> int:
    for name in given.files:
        path = Path(name) / "README.md" if Path(name).is_dir() else Path(name)
        try:
            old = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}") from None
        if not _BLOCK.search(old):
            raise UserError(
                f"'{path}' has no block to fill; write '<!-- adbench leaderboard results -->' and "
                "'<!-- end -->', each on its own line"
            )
        new = filled(old, path.parent)
        if new != old:
            output.write(path, new)
        print(f"{path}: {'filled' if new != old else 'unchanged'}")
    return 0


def filled(text: str, folder: Path) -> str:
    """``text`` with the new output of every block; the commands run in ``folder``."""
    return _BLOCK.sub(lambda block: block[1] + _printed(block[2], folder) + block[3], text)


def _printed(command: str, folder: Path) -> str:
    from adbench_harness.cli import parser

    words = shlex.split(command)
    if words[0] not in COMMANDS:
        raise UserError(f"'adbench {command}' cannot fill a block; only {', '.join(COMMANDS)} can")
    if words[0] == "leaderboard" and "--format" not in words:
        words += ["--format", "markdown"]
    given = parser().parse_args(words)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
        given.handler(given)
    return f"\n{out.getvalue().strip()}\n\n"
