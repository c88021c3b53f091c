"""``adbench report``: writes stored results as a site that opens from disk."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from adbench_harness import terminal
from adbench_harness.cli import options
from adbench_harness.errors import UserError

SUMMARY = "Write results as a site: board, plots, and each row's test images, worst mistakes first."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder of the site")
    parser.add_argument("--metric", metavar="NAME", help="metric that ranks (default: image AUROC)")
    parser.add_argument(
        "--images",
        type=int,
        default=12,
        metavar="N",
        help="maximum number of images per gallery (default 12)",
    )
    options.add_data(parser)
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.results.store import Store

    store = Store.existing(given.results)
    if given.images < 0:
        raise UserError(f"--images {given.images}: give a number, such as 12, or 0 for none")
    locations = options.data_locations(given)
    from rich.progress import Progress

    from adbench_harness import report

    catalogue = options.recorded(given, store.read())
    locations.check(catalogue.offers["dataset"])
    start = time.monotonic()
    shown = terminal.console()
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("galleries", total=None)
        written = report.write(
            store,
            Path(given.output),
            catalogue=catalogue,
            locations=locations,
            metric=given.metric,
            images=given.images,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    for reason in written.missing:
        options.tell(f"images left out: {reason}")
    print(
        f"{written.rows} row{'s' * (written.rows > 1)} in {time.monotonic() - start:.0f} s; "
        f"open {Path(given.output) / 'index.html'}"
    )
    return 0
