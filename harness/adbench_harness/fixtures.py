"""Pytest fixtures for a plugin's tests: small images, and runs in a temporary folder.

In a test module, or in the ``conftest.py`` next to it::

    pytest_plugins = ["adbench_harness.fixtures"]

    def test_it_learns(train_set, tools, defective_batch):
        MyModel().fit(train_set, tools).predict(defective_batch)

Redefine ``side`` if a model needs larger inputs, and ``augmenter`` if it trains with one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adbench_harness.testing import fitting
from adbench_harness.types import Augmenter, Batch, Tools, TrainSet

__all__ = ["augmenter", "batch", "defective_batch", "run", "side", "tools", "train_set"]


@pytest.fixture
def side() -> int:
    """Side of the images in px."""
    return 64


@pytest.fixture
def augmenter() -> Augmenter | None:
    """The augmenter in ``tools``."""
    return None


@pytest.fixture
def train_set(side: int) -> TrainSet:
    """Eight striped, slightly noisy images."""
    return fitting.train(fitting.textures(8, side))


@pytest.fixture
def tools(side: int, augmenter: Augmenter | None) -> Tools:
    """The ``tools`` of ``fit``: CPU, seed 0, and one small untrained network for every backbone."""
    return fitting.tools(augmenter, side)


@pytest.fixture
def batch(side: int) -> Batch:
    """Four normal images that are not in ``train_set``."""
    return fitting.batch(fitting.textures(4, side, seed=1))


@pytest.fixture
def defective_batch(side: int) -> Batch:
    """Four images with a red square in the middle, whose side is a fifth of the image's."""
    return fitting.batch(fitting.textures(4, side, seed=2, blob=True))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """``api.run`` with a temporary results folder: ``run(plugins=..., datasets="mini/brick")``."""
    from adbench_harness import api

    return partial(api.run, out=tmp_path / "results")
