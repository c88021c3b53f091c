"""``adbench leaderboard``: stored results as a table."""

from __future__ import annotations

import argparse
import shutil
import sys

from adbench_harness.cli import options

SUMMARY = "Show stored results as a table: terminal, Markdown, LaTeX, CSV or HTML."
FORMATS = ("terminal", "markdown", "latex", "csv", "html")


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument("--rows", metavar="COLUMN", help="with --columns: a table of one metric")
    parser.add_argument("--columns", metavar="COLUMN", help="category, method, model, seed, ...")
    parser.add_argument("--metric", metavar="NAME", help="the metric of --rows and --columns")
    parser.add_argument("--per-category", action="store_true", help="a row a category")


def handle(given: argparse.Namespace) -> int:
    store = options.store(given.results)
    from adbench_harness import leaderboard

    text = leaderboard.render(
        store.read(),
        format=given.format,
        rows=given.rows,
        columns=given.columns,
        metric=given.metric,
        per_category=given.per_category,
        store=store.root,
        width=shutil.get_terminal_size((100, 24)).columns,
        color=sys.stdout.isatty(),
    )
    print(text.rstrip("\n"))
    return 0
