"""``adbench plot``: plots metrics against a parameter or a cost, or the curves of trainings."""

from __future__ import annotations

import argparse
from pathlib import Path

from adbench_harness.cli import options
from adbench_harness.errors import UserError

SUMMARY = "Plot metrics against a parameter or another metric, or the curves of trainings."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("--x", metavar="NAME", help="parameter or metric on the x axis")
    parser.add_argument("--curves", action="store_true", help="plot the trainings' curves instead")
    options.add_selection(parser, "--y")
    parser.add_argument("--by", metavar="COLUMNS", default="method", help="one line per value")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="file to write, such as plot.svg or plot.png",
    )


def handle(given: argparse.Namespace) -> int:
    if bool(given.x) == given.curves:
        raise UserError("plot needs either --x NAME or --curves")
    from adbench_harness.results.store import Store

    store = Store.existing(given.results)
    from adbench_harness.leaderboard import plot
    from adbench_harness.leaderboard.table import escaped
    from adbench_harness.planning import grammar

    by, metrics = grammar.names(given.by), grammar.names(given.metric)
    only = options.pairs(given.only)
    if given.curves:
        title = plot.curves(store, Path(given.output), by=by, names=metrics, only=only)
    else:
        title = plot.sweep(store, Path(given.output), x=given.x, by=by, metrics=metrics, only=only)
    print(f"![{escaped(title)}]({given.output})")
    return 0
