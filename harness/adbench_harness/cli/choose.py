"""``adbench choose``: the rows that satisfy a production line's limits."""

from __future__ import annotations

import argparse
import math
import sys

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from adbench_harness.wording import terminal_width

SUMMARY = "Show the rows that satisfy limits of time, memory and recall; exit 1: none does."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("--max-ms", type=_limit, metavar="MS", help="most milliseconds per image")
    parser.add_argument("--max-mb", type=_limit, metavar="MB", help="most memory in MB")
    parser.add_argument(
        "--min-recall",
        metavar="SHARE[@RATE]",
        help="least share of anomalous images found at this rate of false alarms (0.95@0.01)",
    )
    options.add_selection(parser)


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.leaderboard import choosing
    from adbench_harness.planning import grammar
    from adbench_harness.results.store import Store

    recall, rate = _recall(given.min_recall)
    store = Store.existing(given.results)
    metrics = grammar.names(given.metric)
    if len(metrics) > 1:
        raise UserError(f"choose orders rows by one metric, and --metric names {len(metrics)}")
    limits = choosing.Limits(given.max_ms, given.max_mb, recall, rate)
    table = choosing.choose(
        store, limits, metric=metrics[0] if metrics else None, only=options.pairs(given.only)
    )
    if not table.rows:
        for line in table.remarks:
            options.say(line, "  ")
        options.tell("no row satisfies the limits")
        return 1
    print(table.terminal(terminal_width(), sys.stdout.isatty()).rstrip("\n"))
    return 0


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def _recall(text: str | None) -> tuple[float | None, float]:
    """The least recall, and the rate of false alarms."""
    if text is None:
        return None, 0.01
    share, at, rate = text.partition("@")
    try:
        found = float(share), float(rate if at else 0.01)
    except ValueError:
        found = -1.0, 0.0
    if not (0 <= found[0] <= 1 and 0 <= found[1] < 1):
        raise UserError(f"--min-recall '{text}' is not SHARE@RATE, such as 0.95@0.01")
    return found
