"""Options that several commands share."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adbench_harness.engines.choice import NAMES
from adbench_harness.errors import NotInstalled, UserError
from adbench_harness.results import FOLDER
from adbench_harness.wording import fold, longest, terminal_width, wrapped

if TYPE_CHECKING:
    from adbench_harness.downloads.fetcher import Fetcher
    from adbench_harness.engines import Engine
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plugins import Catalogue
    from adbench_harness.results.store import TrialResult

_NUMBER = re.compile(r"[\d.]*")
_WORD = 30
"""Maximum width of a word that a table does not cut."""


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
        "results",
        nargs="?",
        default=FOLDER,
        help=f"folder of results, or a board (default {FOLDER})",
    )


def add_selection(parser: argparse.ArgumentParser, *names: str) -> None:
    """``--metric``, under other ``names`` too, and ``--only``."""
    parser.add_argument(
        "--metric",
        *names,
        metavar="NAMES",
        default="",
        help="metrics of the columns; the first one ranks",
    )
    add_only(parser)


def add_only(parser: argparse.ArgumentParser) -> None:
    """``--only``."""
    parser.add_argument(
        "--only",
        metavar="COLUMN=VALUE",
        action="append",
        default=[],
        help="only results with this value, such as model=patchcore",
    )


def pairs(items: list[str]) -> dict[str, str]:
    """COLUMN=VALUE items as a mapping."""
    found: dict[str, str] = {}
    for item in items:
        column, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--only '{item}' is not COLUMN=VALUE, such as model=patchcore")
        if column in found:
            raise UserError(
                f"--only {column} is given twice ({found[column]} and {value}); give one value"
            )
        found[column] = value
    return found


def add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label",
        metavar="NAME=TEXT",
        action="append",
        default=[],
        help="text to show for a component or a row: 'padim=PaDiM (ours)'",
    )


def labels(items: list[str]) -> dict[str, str]:
    """NAME=TEXT items as a mapping; a ``=`` inside brackets belongs to the name."""
    found = {}
    for item in items:
        name, *text = re.split(r"=(?![^()]*\))", item, maxsplit=1)
        if not (name and text and text[0]):
            raise UserError(f"--label '{item}' is not NAME=TEXT, such as 'padim=PaDiM (ours)'")
        found[name] = text[0]
    return found


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


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Where and how trials run; nothing of it changes what a trial computes, except ``threads``."""
    group = parser.add_argument_group("engine", "where trials run; results are the same")
    group.add_argument(
        "--engine",
        choices=NAMES,
        default="local",
        help="worker processes, this process (for debuggers), or a Ray cluster",
    )
    group.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="worker processes (default: one for each GPU, or as the cores allow)",
    )
    group.add_argument(
        "--threads",
        type=_count,
        metavar="N",
        help="threads of each trial, which change the last digits (default: OMP_NUM_THREADS or 1)",
    )
    group.add_argument(
        "--trial-timeout",
        type=_seconds,
        metavar="TIME",
        help="longest time of one model with its scorers: 90, 30m, 2h (default: no limit)",
    )
    group.add_argument(
        "--trial-memory",
        type=_bytes,
        metavar="SIZE",
        help="most memory of one worker: 500M, 8G (default: no limit)",
    )
    group.add_argument("--address", help="Ray cluster, such as auto (default: a local one)")


def add_deterministic(parser: argparse._ActionsContainer) -> None:
    """``--deterministic``."""
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="only algorithms that repeat their bits on the same GPU; others fail the trial",
    )


def engine(given: argparse.Namespace) -> Engine:
    """The engine of ``add_engine``'s options."""
    from adbench_harness.engines import choice

    return choice.engine(
        given.engine,
        workers=given.workers,
        threads=given.threads,
        timeout=given.trial_timeout,
        memory=given.trial_memory,
        address=given.address,
    )


def _count(text: str) -> int:
    return int(_number(text, {"": 1}, "a whole number above 0, such as 2"))


def _seconds(text: str) -> float:
    return _number(text, {"": 1, "s": 1, "m": 60, "h": 3600}, "seconds, or 30m, or 2h")


def _bytes(text: str) -> int:
    return int(_number(text, {"M": 2**20, "G": 2**30}, "500M or 8G"))


def _number(text: str, units: Mapping[str, int], right: str) -> float:
    digits = text.rstrip("".join(units))
    unit = text[len(digits) :]
    if not digits.isascii() or not digits.isdigit() or not int(digits) or unit not in units:
        raise argparse.ArgumentTypeError(f"'{text}' is not {right}")
    return int(digits) * units[unit]


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
    if "" in named:
        raise UserError(f"--data '={named['']}' has no name; write NAME=DIR, or DIR alone")
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


def say(text: str, indent: str = "") -> None:
    """Print a line, wrapped at the terminal's width."""
    print(wrapped(text, terminal_width(), indent), flush=True)


def tell(text: str, who: str = "adbench") -> None:
    """Print an error or a remark on stderr: one line for a program, wrapped for a reader."""
    line = f"{who}: {text}".replace("\n", " ")
    print(wrapped(line, terminal_width(), "  ") if sys.stderr.isatty() else line, file=sys.stderr)


def loaded(given: argparse.Namespace) -> Catalogue:
    """The catalogue of ``--plugins``, or of every installed plugin; broken ones are left out."""
    from adbench_harness.planning import grammar, plugins

    if given.plugins:
        names = grammar.names(given.plugins)
        plugins.check_names(names)
        return plugins.load(names)
    return sound(plugins.available())


def recorded(given: argparse.Namespace, results: Iterable[TrialResult]) -> Catalogue:
    """The catalogue of ``--plugins`` and of the installed ones that the results were made with."""
    from adbench_harness.planning import grammar, plugins

    named = grammar.names(given.plugins or "")
    own = plugins.load(named).plugins
    used = {name: None for result in results for name in result.provenance.get("plugins", ())}
    installed = plugins.available()
    return sound([*(name for name in used if name in installed and name not in own), *named])


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
            tell(f"left out: {error}")
    return plugins.load(found)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as plain text; texts are folded where the terminal is too narrow for them."""
    if not rows:
        return "nothing"
    from tabulate import tabulate

    columns = list(rows[0])
    texts = [[str(row[column]) for column in columns] for row in rows]
    # tabulate makes a column 2 wider than its header at least, and puts 2 between columns.
    least = [
        max(len(column) + 2, *(min(longest(row[j]), _WORD) for row in texts))
        for j, column in enumerate(columns)
    ]
    widths = [max(least[j], *(len(row[j]) for row in texts)) for j in range(len(columns))]
    room = terminal_width() - 2 * (len(columns) - 1)
    while sum(widths) > room and widths != least:
        loose = [j for j in range(len(columns)) if widths[j] > least[j]]
        widths[max(loose, key=lambda j: widths[j])] -= 1
    cells = [["\n".join(fold(text, widths[j])) for j, text in enumerate(row)] for row in texts]
    numbers = [all(_NUMBER.fullmatch(row[j]) for row in texts) for j in range(len(columns))]
    return tabulate(
        cells,
        columns,
        "simple",
        disable_numparse=True,
        colalign=["right" if number else "left" for number in numbers],
    )


def grouped(pairs: Iterable[tuple[str, str]]) -> str:
    """Lines ``text: names``, each text once, from pairs of a name and its text."""
    names: dict[str, list[str]] = {}
    for name, text in pairs:
        names.setdefault(text, []).append(name)
    lines = (f"{text}: {', '.join(found)}" for text, found in names.items() if text)
    return "\n".join(wrapped(line, terminal_width(), "  ") for line in lines)
