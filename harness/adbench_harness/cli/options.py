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
    """Completion of plugin names, from metadata alone."""
    from adbench_harness.planning.plugins import available

    return list(available())


def add_plugins(parser: argparse.ArgumentParser, **kwargs: Any) -> None:
    action = parser.add_argument(
        "--plugins", metavar="NAMES", help="plugins, comma-separated; a .py file counts", **kwargs
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
        help="one ranks or fills cells; several: a column each",
    )
    parser.add_argument(
        "--only", metavar="COLUMN=VALUE", action="append", default=[], help="leave others out"
    )


def pairs(items: list[str]) -> dict[str, str]:
    """COLUMN=VALUE items as a mapping."""
    for item in items:
        if "=" not in item:
            raise UserError(f"--only '{item}' is no COLUMN=VALUE, such as model=patchcore")
    return dict(item.split("=", 1) for item in items)


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DIR|NAME=DIR",
        help="folder whose sub-folder X is data set X, or one data set's folder (ADBENCH_DATA)",
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
    """What ``--data`` names."""
    return _locations(given.data, None, None)


def locations(given: argparse.Namespace, fetch: Fetcher | None = None) -> Locations:
    """What ``--data`` and ``--weights`` name."""
    return _locations(given.data, given.weights, fetch)


def _locations(data: list[str], weights: str | None, fetch: Fetcher | None) -> Locations:
    from adbench_harness.planning.locations import Locations

    named = dict(item.split("=", 1) for item in data if "=" in item)
    general = [item for item in data if "=" not in item]
    if len(general) > 1:
        raise UserError(f"--data names {len(general)} folders; name one, and others as NAME=DIR")
    return Locations.given(general[0] if general else None, named, weights, fetch)


def whereabouts(dataset: Any, locations: Locations) -> str | None:
    """How much of a data set is where, or what is wrong with its folder; None: it is not here."""
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
    """The catalogue of those of ``names`` that load; broken ones are left out, and said."""
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
