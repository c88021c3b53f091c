"""``adbench reference``: prints the catalogue of plugins, the contract or ``nn`` as Markdown."""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from adbench_harness.cli import options

SUMMARY = "Print the plugins' components, the contract or the shared code (nn) as Markdown."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", choices=("catalogue", "hooks", "nn"))
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    pages = {"catalogue": lambda: _catalogue(given), "hooks": _hooks, "nn": _shared}
    print("\n\n".join(pages[given.subject]()))
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
        coded = ("parameter", "type", "default")
        yield _table({k: _code(v) if k in coded else v for k, v in row.items()} for row in rows)


# ---------------------------------------------------------------- the contract


def _hooks() -> Iterator[str]:
    from adbench_harness import hookspecs

    contract = _module("hookspecs")
    yield "## Hooks"
    yield _prose(ast.get_docstring(contract))
    for node in contract.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("adbench_"):
            yield f"### `{node.name}`"
            yield f"`{_signature(node)}`"
            yield _prose(ast.get_docstring(node))
    yield "## What a plugin may import"
    yield _IMPORTS
    yield _table(
        {"module": f"`adbench_harness.{name}`", "meaning": _sentence(_module(name))}
        for name in hookspecs.PUBLIC
    )
    yield "## Types"
    yield _prose(ast.get_docstring(_module("types")))
    yield from _classes("types")
    yield "## Metrics"
    yield _prose(ast.get_docstring(_module("evaluation")))
    yield from _classes("evaluation", "Evaluation")
    yield from _classes("metrics.ranking", "Ranking")


_IMPORTS = """\
A plugin may import these modules of `adbench_harness`, whose names and meanings stay the same. All
other modules may change without notice. The plugins of this repository follow the same rule, which
`pyproject.toml` enforces."""


def _classes(module: str, only: str = "") -> Iterator[str]:
    """Every class of a module, or only one, under the section headings of the source."""
    headings = [] if only else _headings(module)
    for node in _module(module).body:
        while headings and headings[0][0] < node.lineno:
            yield f"## {headings.pop(0)[1]}"
        if isinstance(node, ast.ClassDef) and node.name == (only or node.name):
            yield f"### `{node.name}`"
            yield _prose(ast.get_docstring(node))
            bases = [name for name in map(ast.unparse, node.bases) if name != "Protocol"]
            if bases:
                yield f"Derives from {', '.join(map(_code, bases))}."
            if rows := list(_members(node)):
                yield _table(_without_empty_columns(rows))


def _headings(name: str) -> list[tuple[int, str]]:
    """The line number and the title of each section of a module."""
    lines = enumerate(_source(name).splitlines(), 1)
    return [
        (number, line.lstrip("# -").capitalize())
        for number, line in lines
        if line.startswith("# ------")
    ]


def _members(node: ast.ClassDef) -> Iterator[dict[str, str]]:
    """One row per field, property and method: its type, default and meaning."""
    after = [*node.body[1:], None]
    needed = "must be defined" if "Component" in (node.name, *map(ast.unparse, node.bases)) else ""
    for member, following in zip(node.body, after, strict=True):
        if isinstance(member, ast.AnnAssign):
            yield {
                "member": _code(ast.unparse(member.target)),
                "type": _code(_inner(member.annotation)),
                "default": _default(member.value) if member.value else needed,
                "meaning": _text(following),
            }
        elif isinstance(member, ast.FunctionDef) and not _is_hidden(member):
            marks = {ast.unparse(mark) for mark in member.decorator_list}
            name = node.name if member.name == "__init__" else member.name
            attribute = marks & {"property", "cached_property"}
            yield {
                "member": _code(name if attribute else name + _given(member)),
                "type": "" if name == node.name else _returned(member),
                "default": needed if "abstractmethod" in marks else "",
                "meaning": _line(ast.get_docstring(member)),
            }


def _returned(member: ast.FunctionDef) -> str:
    return _code(ast.unparse(member.returns)) if member.returns else ""


def _default(value: ast.expr) -> str:
    made = {"field(default_factory=dict)": "{}", "field(default_factory=dict, hash=False)": "{}"}
    written = ast.unparse(value)
    return _code(made.get(written, written))


def _inner(annotation: ast.expr) -> str:
    """An annotation without ``ClassVar``."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "ClassVar":
        annotation = annotation.slice
    return ast.unparse(annotation)


def _is_hidden(member: ast.FunctionDef) -> bool:
    shown = member.name in ("__init__", "__call__", "__len__", "__iter__", "__getitem__")
    return member.name.startswith("_") and not shown


# ---------------------------------------------------------------- what methods share


def _shared() -> Iterator[str]:
    from importlib.resources import files

    names = (path.name.removesuffix(".py") for path in files("adbench_harness.nn").iterdir())
    for name in sorted(name for name in names if not name.startswith("_")):
        module = _module(f"nn.{name}")
        yield f"## `adbench_harness.nn.{name}`"
        yield _prose(ast.get_docstring(module))
        yield _table(_definitions(module))


def _definitions(module: ast.Module) -> Iterator[dict[str, str]]:
    """Public functions, classes with their methods, and types of parameters."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield {"name": _code(_signature(node)), "meaning": _sentence(node)}
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = [member for member in node.body if isinstance(member, ast.FunctionDef)]
            built = next((_given(m) for m in methods if m.name == "__init__"), "()")
            yield {"name": _code(node.name + built), "meaning": _sentence(node)}
            for method in methods:
                if method.name != "__init__" and not _is_hidden(method):
                    name = f"{node.name}.{_signature(method)}"
                    yield {"name": _code(name), "meaning": _sentence(method)}
        elif isinstance(node, ast.Assign) and (note := _note(node.value)):
            yield {"name": _code(ast.unparse(node.targets[0])), "meaning": f"a parameter: {note}"}


def _note(value: ast.expr) -> str:
    """The description in an ``Annotated`` type, or an empty string."""
    if not (isinstance(value, ast.Subscript) and ast.unparse(value.value) == "Annotated"):
        return ""
    _, *notes = value.slice.elts if isinstance(value.slice, ast.Tuple) else [value.slice]
    for note in notes:
        said = note
        if isinstance(note, ast.Call):
            said = next((k.value for k in note.keywords if k.arg == "description"), note)
        if isinstance(said, ast.Constant):
            return str(said.value)
    return ""


# ---------------------------------------------------------------- source as Markdown


def _source(name: str) -> str:
    from importlib.util import find_spec

    spec = find_spec(f"adbench_harness.{name}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def _module(name: str) -> ast.Module:
    """A module of the harness, parsed and not imported."""
    return ast.parse(_source(name))


def _signature(node: ast.FunctionDef) -> str:
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}{_given(node)}{returned}"


def _given(node: ast.FunctionDef) -> str:
    owner = "cls" if "classmethod" in map(ast.unparse, node.decorator_list) else "self"
    return f"({ast.unparse(node.args).removeprefix(owner).removeprefix(', ')})"


def _text(node: ast.stmt | None) -> str:
    """The docstring below a field."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return _line(inspect.cleandoc(str(node.value.value)))
    return ""


def _sentence(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """The first paragraph of a docstring."""
    return _line((ast.get_docstring(node) or "").partition("\n\n")[0])


def _line(text: str | None) -> str:
    """A docstring as the cell of a table."""
    return " ".join(_prose(text).split()).replace("|", "\\|")


def _code(text: str) -> str:
    # A bar would end the cell, and Markdown has no empty code.
    return f"`{text}`".replace("|", "\\|") if text else ""


def _prose(text: str | None) -> str:
    """A docstring as Markdown."""
    lines = [f"    {line}" if line.startswith(">>>") else line for line in (text or "").split("\n")]
    return "\n".join(lines).replace("``", "`")


def _table(rows: Iterable[dict[str, str]]) -> str:
    from tabulate import tabulate

    return tabulate(list(rows), headers="keys", tablefmt="pipe", disable_numparse=True)


def _without_empty_columns(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in columns} for row in rows]
