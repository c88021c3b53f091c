"""``adbench leaderboard``: shows stored results as a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adbench_harness.cli import options
from adbench_harness.wording import terminal_width

SUMMARY = "Show stored results as a table: terminal, Markdown, LaTeX, CSV or HTML."
FORMATS = ("terminal", "markdown", "latex", "csv", "html")


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument(
        "--rows",
        metavar="COLUMNS",
        default="",
        help="axes of the rows: category, method, a parameter ...",
    )
    parser.add_argument("--columns", metavar="COLUMN", help="axis of the columns, for one metric")
    options.add_selection(parser)
    parser.add_argument("--all", action="store_true", help="every metric that was measured")
    options.add_labels(parser)
    parser.add_argument(
        "--reported", metavar="PLUGINS", help="add the numbers that papers printed; with --rows"
    )
    parser.add_argument("--per-category", action="store_true", help="one row per category")


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.results.store import Store

    store = Store.existing(given.results)
    from adbench_harness import leaderboard
    from adbench_harness.leaderboard import labels
    from adbench_harness.planning import grammar, suite

    results = list(store.read())
    named = options.labels(given.label)
    labels.check_names(named, results)
    board = Path(given.results) / "suite.toml"
    if board.is_file():
        named = suite.read(board).get("labels", {}) | named

    reported = []
    if given.reported:
        from adbench_harness.planning import plugins

        names = grammar.names(given.reported)
        plugins.check_names(names)
        reported = plugins.load(names).reported()
    text = leaderboard.render(
        results,
        format=given.format,
        rows=grammar.names(given.rows),
        columns=given.columns,
        metrics=grammar.names(given.metric),
        all=given.all,
        only=options.pairs(given.only),
        labels=named,
        reported=reported,
        per_category=given.per_category,
        store=store.root,
        width=terminal_width(),
        color=sys.stdout.isatty(),
    )
    if given.format == "latex":
        options.tell(r"the table needs \usepackage{booktabs} in the document's preamble")
    print(text.rstrip("\n"))
    return 0
