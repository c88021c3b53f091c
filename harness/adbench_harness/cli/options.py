"""Options that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import NotInstalled, UserError
from adbench_harness.results import FOLDER

if TYPE_CHECKING:
    from adbench_harness.downloads.fetcher import Fetcher
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plugins import Catalogue


def plugin_names(**_: Any) -> list[str]:
    """The plugin names for completion, from metadata only."""
    from adbench_harness.planning.plugins import available

    return list(available())


def add_plugins(parser: argparse.ArgumentParser, **kwargs: Any) -> None:
    action = parser.add_argument(
        "--plugins", metavar="NAMES", help="plugins or .py files, comma-separated", **kwargs
    )
    action.completer = plugin_names  # type: ignore[attr-defined]  # argcomplete reads it


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", nargs="?", default=FOLDER, help=f"folder of results (default {FOLDER})"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metric",
        metavar="NAMES",
        default="",
        help="metric that ranks or fills the cells, or several columns",
    )
    parser.add_argument(
        "--only",
        metavar="COLUMN=VALUE",
        action="append",
        default=[],
        help="only results with this value",
    )


def pairs(items: list[str]) -> dict[str, str]:
    """COLUMN=VALUE items as a mapping."""
    for item in items:
        if "=" not in item:
            raise UserError(f"--only '{item}' is not COLUMN=VALUE, such as model=patchcore")
    return dict(item.split("=", 1) for item in items)


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DIR|NAME=DIR",
        help="folder that contains NAME/ for each data set, or the folder of NAME (ADBENCH_DATA)",
    )


def add_locations(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--weights", metavar="PATH", help="folder or file of weights (ADBENCH_WEIGHTS)"
    )


def add_license(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-license", action="store_true", help="accept the license of what is downloaded"
    )


def data_locations(given: argparse.Namespace) -> Locations:
    """The folders of ``--data``."""
    return _locations(given.data, None, None)


def locations(given: argparse.Namespace, fetch: Fetcher | None = None) -> Locations:
    """The folders of ``--data`` and ``--weights``."""
    return _locations(given.data, given.weights, fetch)


def _locations(data: list[str], weights: str | None, fetch: Fetcher | None) -> Locations:
    from adbench_harness.planning.locations import Locations

    named = dict(item.split("=", 1) for item in data if "=" in item)
    general = [item for item in data if "=" not in item]
    if len(general) > 1:
        raise UserError(
            f"--data has {len(general)} folders without a name; write all but one as NAME=DIR"
        )
    return Locations.given(general[0] if general else None, named, weights, fetch)


def whereabouts(dataset: Any, locations: Locations) -> str | None:
    """A data set's categories and folder, or the error in its folder; None if it is not found."""
    from adbench_harness.images import folders

    try:
        root = folders.locate(dataset, locations.data, locations.datasets)
    except UserError as error:
        return str(error) if dataset.name in locations.datasets else None
    try:
        found = len(dataset.categories(root))
    except UserError as error:
        return str(error)
    published = len(dataset.published()) or found
    part = f"{found} of {published}" if found < published else str(found)
    return f"{part} categor{'y' if published == 1 else 'ies'} in {root}"


def loaded(given: argparse.Namespace) -> Catalogue:
    """The catalogue of ``--plugins``, or of every installed plugin; broken ones are left out."""
    from adbench_harness.planning import grammar, plugins

    if given.plugins:
        names = grammar.names(given.plugins)
        plugins.check_names(names)
        return plugins.load(names)
    return sound(plugins.available())


def sound(names: Iterable[str]) -> Catalogue:
    """The catalogue of the plugins ``names``, without those that cannot be loaded (see stderr)."""
    from adbench_harness.planning import plugins

    found = []
    for name in names:
        try:
            plugins.load([name])
            found.append(name)
        except NotInstalled:
            pass
        except UserError as error:
            print(f"adbench: left out: {error}", file=sys.stderr)
    return plugins.load(found)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as plain text, wrapped to the terminal's width in their last column."""
    if not rows:
        return "nothing"
    import shutil

    from tabulate import tabulate

    columns = list(rows[0])
    # tabulate makes a column 2 wider than its header at least, and puts 2 between columns.
    fixed = sum(max(len(c) + 2, *(len(str(row[c])) for row in rows)) + 2 for c in columns[:-1])
    last = max(24, shutil.get_terminal_size().columns - fixed)
    return tabulate(
        rows, headers="keys", tablefmt="simple", maxcolwidths=[*[None] * (len(columns) - 1), last]
    )
