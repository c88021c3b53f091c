"""``adbench rerun``: repeats stored trials from their own records."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from adbench_harness.wording import terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adbench_harness.results.store import TrialResult

SUMMARY = "Repeat a stored trial; exit 0: it matches, 1: it does not, 2: impossible."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "record",
        metavar="RESULT",
        help="a result's JSON file; or a folder of results, or a board, with --only",
    )
    options.add_only(parser)
    options.add_plugins(parser)
    options.add_locations(parser)
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1 (default: the record's kind)")
    options.add_deterministic(parser)


def handle(given: argparse.Namespace) -> int:
    stored = _stored(given)
    from adbench_harness import compare, session
    from adbench_harness.planning import grammar

    code = 0
    for number, result in enumerate(stored):
        new = session.repeat(
            result,
            options.locations(given),
            plugins=grammar.names(given.plugins or ""),
            device=given.device,
            deterministic=given.deterministic,
        )
        found = compare.repetition(result, new)
        text = compare.repetition_text(found, terminal_width())
        print("\n" * bool(number) + text, flush=True)
        code = max(code, int(bool(found.mismatches)))
    return code


def _stored(given: argparse.Namespace) -> Sequence[TrialResult]:
    """The results to repeat, with their images' arrays."""
    from adbench_harness.results import store

    path = Path(given.record)
    if not path.is_dir():
        if given.only:
            raise UserError(f"--only is for a folder of results, and '{path}' is not a folder")
        return [store.read_file(path)]
    only = options.pairs(given.only)
    if not only:
        raise UserError(
            f"'{path}' is a folder of results; name one of its .json files, or select trials with "
            "--only COLUMN=VALUE"
        )
    found = store.Store.existing(path)
    from adbench_harness.leaderboard.frame import select

    results = list(found.read())
    chosen = [results[index] for index in select(results, (), only).index]
    return [replace(result, images=found.images(result.trial)) for result in chosen]
