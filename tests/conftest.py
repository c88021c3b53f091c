"""Fixtures that several test modules share; the toy components are in ``toys.py``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from adbench_harness.downloads import fetch
from adbench_harness.planning import plugins

# A shared machine is sometimes slow, so the time of an example says nothing.
settings.register_profile("adbench", deadline=None)
settings.load_profile("adbench")
# A background job of a shell ignores Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

TOYS = Path(__file__).with_name("toys.py")
# Tests, and plugins that tests write, import the toys by name.
sys.path.insert(0, str(TOYS.parent))

from servers import Server, serving  # noqa: E402


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no GPU")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or fills the user's caches; what is built once serves the whole session."""
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "torch"))
    monkeypatch.delenv("ADBENCH_DATA", raising=False)
    monkeypatch.delenv("ADBENCH_WEIGHTS", raising=False)


@pytest.fixture
def toys() -> str:
    """What ``--plugins`` takes for the toys."""
    return str(TOYS)


@pytest.fixture
def catalogue(toys: str) -> plugins.Catalogue:
    """The toys and ``basic``, loaded."""
    return plugins.load([toys])


@pytest.fixture
def plugin_file(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a one-file plugin ``name`` with ``body`` and gives what ``--plugins`` takes for it."""

    def write(name: str, body: str) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(f"from adbench_harness.hookspecs import hookimpl\n{body}")
        return str(path)

    return write


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine, and no waiting between tries."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    with serving() as state:
        yield state


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes one-pixel images at paths relative to a fresh data root, and returns the root."""
    import cv2
    import numpy as np

    pixel = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()

    def make(*paths: str) -> Path:
        for path in paths:
            file = tmp_path / "data" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pixel)
        return tmp_path / "data"

    return make


@pytest.fixture
def miniature(tmp_path: Path) -> Callable[[str], Path]:
    """Lays a public data set out in miniature, as its archives have it, and returns the root."""

    import miniatures

    def make(name: str) -> Path:
        for files in miniatures.ARCHIVES[name].values():
            for path, content in files.items():
                file = tmp_path / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return tmp_path / name

    return make
