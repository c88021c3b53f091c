"""What SECURITY.md says of the code: no shell, no pickle of others, one place for the network."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for folder in ("harness", "plugins")
    for path in (ROOT / folder).rglob("*.py")
}
PICKLES = {"engines/local.py", "engines/worker.py"}
"""Where processes of one run speak to each other through a pipe of their own."""
NETWORK = {"downloads/fetch.py"}
RUNS_CODE = {"eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "yaml.load"}


def calls(tree: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """Each call's name and keywords, as written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {one.arg or "**": ast.unparse(one.value) for one in node.keywords}
            yield ast.unparse(node.func), keywords


def imported(tree: ast.Module) -> set[str]:
    """The packages that a module imports anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def short(module: str) -> str:
    return module.removeprefix("harness/adbench_harness/")


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_is_read_is_run(module: str) -> None:
    for name, keywords in calls(MODULES[module]):
        assert name not in RUNS_CODE
        assert keywords.get("shell", "False") == "False"
        if name == "torch.load":
            assert keywords["weights_only"] == "True"
        if name == "np.load":
            assert keywords["allow_pickle"] == "False"
    if "pickle" in imported(MODULES[module]):
        assert short(module) in PICKLES


@pytest.mark.parametrize("module", MODULES)
def test_only_one_module_uses_the_network(module: str) -> None:
    outward = {"socket", "urllib.request", "http.client", "requests", "ftplib", "ssl"}
    if outward & imported(MODULES[module]):
        assert short(module) in NETWORK


def test_the_exceptions_exist() -> None:
    assert {short(module) for module in MODULES} >= PICKLES | NETWORK
