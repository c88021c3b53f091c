from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import miniatures

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes one-pixel images at paths relative to a fresh data root, and returns the root."""
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

    def make(name: str) -> Path:
        for files in miniatures.ARCHIVES[name].values():
            for path, content in files.items():
                file = tmp_path / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return tmp_path / name

    return make


@pytest.fixture
def real() -> Path:
    """The folder of real data sets."""
    if not os.environ.get("ADBENCH_REAL_DATA"):
        pytest.skip("ADBENCH_REAL_DATA names no folder with real data")
    return Path(os.environ["ADBENCH_REAL_DATA"]) / "data"
