from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def real() -> Path:
    """The folder of real data sets."""
    if not os.environ.get("ADBENCH_REAL_DATA"):
        pytest.skip("ADBENCH_REAL_DATA names no folder with real data")
    return Path(os.environ["ADBENCH_REAL_DATA"]) / "data"
