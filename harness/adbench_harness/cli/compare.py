"""``adbench compare``: compares a run with an accepted one, for a CI gate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from adbench_harness.cli import output
from adbench_harness.errors import UserError, nearest
from adbench_harness.results import FOLDER
from adbench_harness.wording import counted, terminal_width

SUMMARY = "Compare results with accepted ones; exit 0: as good, 1: worse or changed, 2: impossible."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "baseline",
        help="board (a folder with suite.toml and results/), or folder of accepted results",
    )
    parser.add_argument(
        "new",
        nargs="?",
        default=FOLDER,
        help=f"folder of new results (default {FOLDER})",
    )
    parser.add_argument(
        "--suite", metavar="FILE", help="suite with the [tolerance] (default: the board's)"
    )
    for name, what in (
        ("markdown", "a summary for a pull request"),
        ("junit", "JUnit XML"),
        ("json", "everything"),
    ):
        parser.add_argument(f"--{name}", metavar="FILE", help=f"write {what}")
    parser.add_argument(
        "--accept", action="store_true", help="make the new results the baseline, and exit with 0"
    )


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.results.store import Store

    folder, suite_file = _board(given)
    if not given.accept:
        Store.existing(folder)  # a missing baseline is reported before missing new results
    new = Store.existing(given.new)
    if folder.resolve() == new.root.resolve():
        raise UserError(f"'{given.new}' is the baseline itself; run into another folder (--out)")
    tolerance = _tolerance(suite_file)
    from adbench_harness import compare

    accepted = _acceptable(new) if given.accept else []
    if accepted and not (folder / "trials").is_dir():
        return _accept(Store(folder), new, accepted)
    baseline = Store.existing(folder)
    found = compare.compare(baseline, new, tolerance)
    if not accepted and all(pair.old is None for pair in found.pairs):
        raise UserError(
            f"'{folder}' has no result to compare with; accept new ones with --accept, or name "
            "another baseline"
        )
    _check(tolerance, found, suite_file)
    writers = {"markdown": compare.markdown, "junit": compare.junit, "json": compare.json_text}
    for name, write in writers.items():
        if getattr(given, name):
            output.write(Path(getattr(given, name)), write(found))
    print(compare.text(found, terminal_width()))
    return _accept(baseline, new, accepted) if accepted else found.exit_code


def _board(given: argparse.Namespace) -> tuple[Path, str | None]:
    """The folder of accepted results, and the suite file, if there is one."""
    folder = Path(given.baseline)
    board = (folder / "suite.toml").is_file()
    suite_file = given.suite or (str(folder / "suite.toml") if board else None)
    return (folder / "results" if board else folder), suite_file


def _tolerance(suite_file: str | None) -> Any:
    from adbench_harness.planning import suite

    if suite_file is None:
        return suite.Tolerance()
    content = suite.read(Path(suite_file))
    return suite.validate({"plugins": ["any"], **content}, suite_file).tolerance


def _check(tolerance: Any, found: Any, suite_file: str | None) -> None:
    """Raise UserError for the tolerance of an unknown metric, which is probably misspelt."""
    known = {
        name
        for pair in found.pairs
        for side in (pair.old, pair.new)
        if side
        for name in side.metrics
    }
    for name in tolerance.each:
        if known and name not in known:
            raise UserError(
                f"{suite_file}: 'tolerance.each.{name}': no result has this metric"
                f"{nearest(name, known)}; valid: {', '.join(sorted(known))}"
            )


def _acceptable(new: Any) -> list[str]:
    """Ids of the latest trials of ``new``; raises UserError if one failed."""
    from adbench_harness.compare.comparison import latest

    results = list(latest(new).values())
    failed = [result.trial.title for result in results if result.status == "failed"]
    if failed or not results:
        reason = f"{len(failed)} failed, such as {failed[0]}" if failed else "it is empty"
        raise UserError(f"'{new.root}' cannot be accepted: {reason}; run the suite again")
    return [result.trial.id for result in results]


def _accept(baseline: Any, new: Any, ids: list[str]) -> int:
    """Replace the baseline by trials of ``new``; curves and maps are not kept."""
    baseline.accept(new, ids)
    print(f"accepted: {counted(len(ids), 'trial')} in {baseline.root}")
    return 0
