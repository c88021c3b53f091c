"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import UserError

if TYPE_CHECKING:
    from adbench_harness.plugins import Catalogue

RESULTS = "adbench-results"


def plugin_names(**_: Any) -> list[str]:
    """Completion of plugin names, from metadata alone."""
    from adbench_harness.plugins import available

    return list(available())


def add_plugins(parser: argparse.ArgumentParser, **kwargs: Any) -> None:
    action = parser.add_argument(
        "--plugins", metavar="NAMES", help="plugins, comma-separated; a .py file counts", **kwargs
    )
    action.completer = plugin_names  # type: ignore[attr-defined]  # argcomplete reads it


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", nargs="?", default=RESULTS, help=f"folder of results (default {RESULTS})"
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


def names(text: str) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


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


def add_places(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--weights", metavar="PATH", help="folder or file of weights (ADBENCH_WEIGHTS)"
    )


def data_places(given: argparse.Namespace) -> dict[str, Any]:
    """``data`` and ``datasets`` of ``plan.Places``."""
    named = dict(item.split("=", 1) for item in given.data if "=" in item)
    general = [item for item in given.data if "=" not in item]
    if len(general) > 1:
        raise UserError(f"--data names {len(general)} folders; name one, and others as NAME=DIR")
    return {
        "data": general[0] if general else os.environ.get("ADBENCH_DATA"),
        "datasets": named,
    }


def places(given: argparse.Namespace) -> dict[str, Any]:
    """``data``, ``datasets`` and ``weights`` of ``plan.Places``."""
    return data_places(given) | {"weights": given.weights or os.environ.get("ADBENCH_WEIGHTS")}


def loaded(given: argparse.Namespace) -> Catalogue:
    """The catalogue of ``--plugins``, or of every installed plugin; broken ones are left out."""
    from adbench_harness import grammar, plugins

    if given.plugins:
        names = grammar.split(given.plugins, ",")
        plugins.check_names(names)
        return plugins.load(names)
    sound = []
    for name in plugins.available():
        try:
            plugins.load([name])
            sound.append(name)
        except UserError as error:
            print(f"adbench: left out: {error}", file=sys.stderr)
    return plugins.load(sound)


def store(folder: str) -> Any:
    """The results in ``folder``; raises UserError where there are none."""
    from adbench_harness.results import Store

    found = Store(Path(folder))
    if not found.trials.is_dir():
        raise UserError(f"no results in '{folder}'; run 'adbench run' first or name its folder")
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as plain text, wrapped to the terminal's width in their last column."""
    if not rows:
        return "nothing"
    import shutil

    from tabulate import tabulate

    columns = list(rows[0])
    fixed = sum(
        max(len(str(row[c])) for row in [dict.fromkeys(rows[0], ""), *rows]) + 2
        for c in columns[:-1]
    )
    last = max(24, shutil.get_terminal_size().columns - fixed)
    return tabulate(
        rows, headers="keys", tablefmt="simple", maxcolwidths=[*[None] * (len(columns) - 1), last]
    )


def fetch(kind: str, component: Any, place: str | None) -> Path:
    """Download a backbone's weights or a data set, with progress; the file or folder that came."""
    return _weights(component, place) if kind == "weights" else _data(component, place)


def _weights(backbone: Any, place: str | None) -> Path:
    from adbench_harness import backbones

    if backbone.weights is None:
        raise UserError(f"backbone '{backbone.name}' needs no weights; use it as it is")
    folder = Path(place).expanduser() if place else backbones.hub_folder()
    if folder.is_file():
        raise UserError(f"--weights '{folder}' is a file; name a folder to fetch into")
    target = folder / backbone.weights.filename
    _download(backbone.weights.url, target, backbone.weights.sha256, None)
    print(f"{backbone.name}: {target}", file=sys.stderr)
    return Path(target)


def _data(dataset: Any, place: str | None) -> Path:
    from adbench_harness import data, fetch

    if not dataset.archives:
        raise UserError(
            f"data set '{dataset.name}' has nothing to fetch; name its folder with "
            f"--data {dataset.name}=DIR"
        )
    parent = Path(place).expanduser() if place else data.cache_folder() / "data"
    root = parent / dataset.name
    if root.exists():
        raise UserError(f"'{root}' exists; remove it to fetch '{dataset.name}' again")
    print(f"{dataset.name}: licence {dataset.licence}", file=sys.stderr)
    for archive in dataset.archives:
        target = parent / archive.url.rpartition("/")[2]
        _download(archive.url, target, archive.sha256, archive.md5)
        fetch.extract(target, root, max_bytes=None)
        target.unlink()
    print(f"{dataset.name}: {root}", file=sys.stderr)
    return Path(root)


def _download(url: str, target: Path, sha256: str | None, md5: str | None) -> None:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from adbench_harness import fetch

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:2],
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(target.name, total=None)
        fetch.download(
            url,
            target,
            sha256=sha256,
            md5=md5,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
