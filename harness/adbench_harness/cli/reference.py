"""``adbench reference``: prints the catalogue of plugins, or the contract, as Markdown."""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from adbench_harness.cli import options

SUMMARY = "Print the plugins' components, or the hooks and types of the contract, as Markdown."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", choices=("catalogue", "hooks"))
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    lines = _hooks() if given.subject == "hooks" else _catalogue(given)
    print("\n\n".join(lines))
    return 0


# ---------------------------------------------------------------- the plugins' components


def _catalogue(given: argparse.Namespace) -> Iterator[str]:
    catalogue = options.loaded(given)
    for plugin in catalogue.plugins:
        yield f"## {plugin}"
        yield inspect.getdoc(catalogue.manager.get_plugin(plugin)) or ""
        for offers in catalogue.offers.values():
            for offer in offers.values():
                if offer.plugin == plugin:
                    yield from _component(offer, catalogue)


def _component(offer: Any, catalogue: Any) -> Iterator[str]:
    from tabulate import tabulate

    from adbench_harness.cli import show

    facts = {
        key: value
        for key, value in show.facts(offer, catalogue).items()
        if value and key != "plugin"
    }
    yield f"### {offer.kind} `{offer.name}`"
    yield offer.component.summary
    facts |= {f"preset {name}": said for name, said in show.presets(offer).items()}
    if facts:
        yield "\n".join(f"- {key}: {value}" for key, value in facts.items())
    rows = show.parameters(offer)
    if rows:
        for row in rows:
            for key in ("parameter", "type", "default"):
                # A bar would end the cell, and Markdown has no empty code span.
                row[key] = f"`{row[key]}`".replace("|", "\\|") if row[key] else ""
        yield tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)


# ---------------------------------------------------------------- the contract


def _hooks() -> Iterator[str]:
    from adbench_harness import evaluation, hookspecs, types

    yield "## Hooks"
    yield _prose(inspect.getdoc(hookspecs))
    for node in _definitions(hookspecs):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("adbench_"):
            yield f"### `{node.name}`"
            yield f"`{_signature(node)}`"
            yield _prose(ast.get_docstring(node))
    yield "## Types"
    yield _prose(inspect.getdoc(types))
    for node in _definitions(types):
        if isinstance(node, ast.ClassDef):
            yield from _class(node)
    yield "## Metrics"
    yield _prose(inspect.getdoc(evaluation))
    for node in _definitions(evaluation):
        if isinstance(node, ast.ClassDef) and node.name == "Evaluation":
            yield from _class(node)


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield f"### `{node.name}`"
    yield _prose(ast.get_docstring(node))
    yield "\n".join(_members(node))


def _definitions(module: ModuleType) -> list[ast.stmt]:
    return ast.parse(inspect.getsource(module)).body


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Fields as they are written, and methods with their docstrings."""
    for member in node.body:
        if isinstance(member, ast.AnnAssign):
            yield f"- `{ast.unparse(member)}`"
        elif isinstance(member, ast.FunctionDef) and _is_public(member.name):
            said = _prose(ast.get_docstring(member)).replace("\n\n", " ").replace("\n", " ")
            marks = [ast.unparse(mark) for mark in member.decorator_list]
            is_property = not {"property", "cached_property"}.isdisjoint(marks)
            written = _attribute(member) if is_property else _signature(member)
            yield f"- `{written}`" + (f": {said}" if said else "")


def _is_public(name: str) -> bool:
    return name != "__post_init__" and (name.startswith("__") or not name.startswith("_"))


def _attribute(node: ast.FunctionDef) -> str:
    return f"{node.name}: {ast.unparse(node.returns)}" if node.returns else node.name


def _signature(node: ast.FunctionDef) -> str:
    given = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({given}){returned}"


def _prose(text: str | None) -> str:
    """A docstring as Markdown."""
    lines = [f"    {line}" if line.startswith(">>>") else line for line in (text or "").split("\n")]
    return "\n".join(lines).replace("``", "`")
