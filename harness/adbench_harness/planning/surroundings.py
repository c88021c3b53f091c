"""What every trial finds in its process as the run began, whatever others did."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


class _Setting(NamedTuple):
    """How a setting is read and set, and whether a plugin's import may change it for good."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    lasting: bool = False


def _environment(content: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(content)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return None


def _go(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _filters(content: list[Any]) -> None:
    warnings.filters[:] = content  # type: ignore[index]  # a list, whatever its type hint says


_SETTINGS = (
    _Setting(_folder, _go),
    _Setting(lambda: dict(os.environ), _environment, lasting=True),
    _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting(lambda: list(warnings.filters), _filters, lasting=True),
    _Setting(np.geterr, lambda errors: np.seterr(**errors)),
    _Setting(torch.get_default_device, torch.set_default_device),
    _Setting(torch.get_default_dtype, torch.set_default_dtype),
    _Setting(torch.get_num_threads, torch.set_num_threads),
    _Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _Setting(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
)

_CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""What makes cuBLAS deterministic; torch's documentation asks for it."""


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """If ``wanted``, let torch use only algorithms that give the same bits each time.

    An operation that has none on this device then raises RuntimeError.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), dict(os.environ)
    os.environ.update(_CUBLAS)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        _environment(before[1])


class Surroundings:
    """What a component finds in its process and may change: folder, environment, modes."""

    def __init__(self) -> None:
        self._values = [setting.read() for setting in _SETTINGS]

    def restore(self, *, imported: bool = False) -> None:
        """Undo what a component changed, since the next one must not notice it.

        What was ``imported`` may rely on the environment and the warnings that it set.
        """
        for setting, value in zip(_SETTINGS, self._values, strict=True):
            if not (imported and setting.lasting) and setting.read() != value:
                setting.write(value)
