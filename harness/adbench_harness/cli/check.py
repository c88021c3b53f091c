"""``adbench check NAME``: runs the conformance checks of a component or a plugin."""

from __future__ import annotations

import argparse

from adbench_harness.cli import options

SUMMARY = "Run the conformance checks on a component, or on all components of a plugin."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="PLUGIN|[KIND:]COMPONENT")
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    """0 if every check passed or failed as expected, 1 otherwise."""
    catalogue = options.loaded(given)
    from adbench_harness import testing

    outcomes = testing.check(given.name, catalogue)
    rows = [{"component": o.component, "check": o.check, "outcome": o.text} for o in outcomes]
    print(options.table(rows))
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"\n{len(outcomes)} checks, {failed} failed")
    return int(failed > 0)
