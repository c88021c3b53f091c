"""The tests mirror the harness: a module ``a/b.py`` is tested in ``tests/a/test_b.py``.

The code of a package's ``__init__.py`` is tested in a file of the package's name, and a plugin in
``tests/plugins/test_<plugin>.py``.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import adbench_harness

TESTS = Path(__file__).parent
HARNESS = Path(adbench_harness.__file__).parent
PLUGINS = TESTS.with_name("plugins")

OFFENDERS = "tests/testing/test_testing.py has an offender for each of its checks"
ELSEWHERE = {
    "basic/__init__.py": "only lists what the package brings",
    "basic/datasets/mini.py": "tests/basic/test_mini.py tests what it wraps",
    "basic/datasets/mpdd.py": "only declares; tests/datasets/test_official.py reads its archive",
    "engines/__init__.py": "only declares; tests/test_session.py has engines of its own",
    "engines/worker.py": "tests/engines/test_local.py runs it",
    "hookspecs.py": "only declares; the templates and toys implement each hook",
    "images/survey.py": "tests/images/test_cases.py has an input for each of its sentences",
    "leaderboard/__init__.py": "tests/leaderboard/test_formats.py renders whole boards",
    "listener.py": "only declares; tests/test_session.py listens",
    "running/weightfile.py": "tests/running/test_features.py loads every kind of file",
    "running/watch.py": "only declares; tests/engines/test_local.py watches",
    "testing/augmenters.py": OFFENDERS,
    "testing/backbones.py": OFFENDERS,
    "testing/common.py": OFFENDERS,
    "testing/datasets.py": OFFENDERS,
    "testing/metrics.py": OFFENDERS,
    "testing/models.py": OFFENDERS,
    "testing/preprocessors.py": OFFENDERS,
    "testing/reloading.py": OFFENDERS,
    "testing/scorers.py": OFFENDERS,
}
"""Modules without a test file of their own, each with the reason."""
ACROSS = {
    "cli/test_hostile.py": "damaged files, hostile names and full disks in every command",
    "images/test_cases.py": "files that people have, each with its line and exit code",
    "engines/test_misbehaving.py": "bad plugins, and their neighbours",
    "leaderboard/test_formats.py": "whole boards in each format",
    "leaderboard/test_parameters.py": "parameters as rows, columns and axes",
    "leaderboard/test_settings.py": "settings on a board",
    "planning/test_failures.py": "what breaks while a run is planned",
    "report/test_browser.py": "the site in a browser",
    "running/test_settings.py": "the settings of docs/settings.md in a run",
    "test_docs.py": "the documentation",
    "test_gpu.py": "tests/gpu.sh, as far as a CPU can",
    "test_gate.py": "the gate of docs/ci.md",
    "test_imports.py": "what an import costs",
    "test_interruption.py": "kills, full disks and second runs",
    "test_leaderboards.py": "the committed boards",
    "test_mirror.py": "this file",
    "test_fuzz.py": "any bytes in the files that people and machines write",
    "planning/test_properties.py": "the planner, for any suite",
    "results/test_properties.py": "the store, for any result",
    "test_soak.py": "many trials with random faults",
    "test_real_data.py": "data sets as they are published",
    "test_security.py": "what SECURITY.md says of the code",
    "test_workflows.py": "the workflows of the CI",
    "testing/test_in_tree.py": "the components of the repository",
}
"""Test files of something else than one module."""
OTHER_FOLDERS = ("benchmarks", "plugins", "thirdparty")


def has_code(module: Path) -> bool:
    """Whether a package's ``__init__.py`` does more than describe and re-export."""
    passive = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    return not all(isinstance(node, passive) for node in ast.parse(module.read_text()).body)


MODULES = {
    path.relative_to(HARNESS).as_posix()
    for path in HARNESS.rglob("*.py")
    if "templates" not in path.parts and (path.name != "__init__.py" or has_code(path))
}
FILES = {
    path.relative_to(TESTS).as_posix()
    for path in TESTS.rglob("test_*.py")
    if path.relative_to(TESTS).parts[0] not in OTHER_FOLDERS
}


def mirrored(module: str) -> str:
    """Where the tests of a module are."""
    path = Path(module)
    name = path.parent.name if path.name == "__init__.py" else path.stem
    return path.with_name(f"test_{name}.py").as_posix()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_has_its_tests(module: str) -> None:
    assert (mirrored(module) in FILES) != (module in ELSEWHERE), (
        f"write tests/{mirrored(module)}, or say in ELSEWHERE where {module} is tested"
    )


def test_every_test_file_mirrors_a_module() -> None:
    assert FILES - set(map(mirrored, MODULES)) == set(ACROSS)
    assert set(ELSEWHERE) <= MODULES


@pytest.mark.parametrize("plugin", sorted(path.name for path in PLUGINS.glob("adbench_*")))
def test_every_plugin_has_its_tests(plugin: str) -> None:
    assert (TESTS / "plugins" / f"test_{plugin.removeprefix('adbench_')}.py").is_file()
