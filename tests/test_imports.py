"""A plugin imports the public modules of the harness only, whoever wrote it."""

from __future__ import annotations

import ast
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import adbench_harness
from adbench_harness.hookspecs import PUBLIC

ROOT = Path(__file__).parents[1]
HARNESS = adbench_harness.__name__
PLUGINS = sorted(
    path
    for folder in ("plugins", "harness/adbench_harness/templates", "tests/thirdparty")
    for path in (ROOT / folder).rglob("*.py")
    # The tests of this repository drive what they test from outside.
    if path.parent != ROOT / "tests/thirdparty" or not path.name.startswith(("test_", "conftest"))
)


def imported(source: str) -> Iterator[str]:
    """The modules of the harness that a source imports, by the first name below the package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == HARNESS:
                yield rest.partition(".")[0]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_public_modules_only(path):
    assert set(imported(path.read_text())) <= set(PUBLIC)


def test_every_way_to_import_is_seen():
    source = """
import adbench_harness.running.learned
from adbench_harness import metrics, types
from adbench_harness.images.inputs import Images
def later():
    from adbench_harness.planning import plan
"""
    assert list(imported(source)) == ["running", "metrics", "types", "images", "planning"]


def test_what_is_not_public_is_forbidden():
    """A module that is added must be allowed in words, or else no plugin may import it."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [c for c in config["contracts"] if c["type"] == "forbidden"]
    modules = {module.name for module in pkgutil.iter_modules(adbench_harness.__path__)}
    assert set(PUBLIC) <= modules
    assert set(contract["forbidden_modules"]) == {f"{HARNESS}.{m}" for m in modules - set(PUBLIC)}
    plugins = {
        path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists()
    }
    assert set(contract["source_modules"]) == plugins
