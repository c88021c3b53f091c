"""``adbench list``: lists plugins without importing them; ``--components`` or a kind loads them."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError, nearest

SUMMARY = "List the installed plugins, or the components that they provide."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="KIND",
        help="components of one kind: datasets, models, metrics ...",
    )
    options.add_plugins(parser)
    parser.add_argument(
        "--components", action="store_true", help="load the plugins and list their components"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def handle(given: argparse.Namespace) -> int:
    rows = _components(given) if given.components or given.kind else _plugins()
    if given.json:
        print(json.dumps(rows, indent=1))
    else:
        print(options.table(rows))
    return 0


def _plugins() -> list[dict[str, str]]:
    """One row per entry point, so two entry points of the same name are two rows."""
    from adbench_harness.planning.plugins import available

    return [
        {
            "plugin": name,
            "distribution": entry.dist.name if entry.dist else "",
            "version": entry.dist.version if entry.dist else "",
            "summary": _summary(entry) if len(entries) == 1 else "installed twice: uninstall one",
        }
        for name, entries in available().items()
        for entry in entries
    ]


def _summary(entry: EntryPoint) -> str:
    """The first line of a plugin's docstring, read without importing the plugin."""
    top, *inner = entry.module.split(".")
    try:
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            return ""
        path = Path(spec.origin)
        if inner:
            path = path.parent.joinpath(*inner)
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        doc = ast.get_docstring(ast.parse(path.read_bytes()))
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""  # loading it will name the error
    return (doc or "").partition("\n")[0]


def _components(given: argparse.Namespace) -> list[dict[str, Any]]:
    from adbench_harness.planning.plugins import KINDS

    wanted = (given.kind or "").lower().removesuffix("s")
    if wanted not in ("", *KINDS):
        kinds = [f"{kind}s" for kind in KINDS]
        raise UserError(
            f"list: no kind of component '{given.kind}'{nearest(given.kind, kinds)}; choose from "
            f"{', '.join(kinds)}, or see one component with 'adbench show NAME'"
        )
    catalogue = options.loaded(given)
    return [
        {
            "kind": kind,
            "name": offer.name,
            "plugin": offer.plugin,
            "summary": offer.component.summary,
        }
        for kind, offers in catalogue.offers.items()
        if wanted in ("", kind)
        for offer in offers.values()
    ]
