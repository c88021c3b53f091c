"""What a trial left behind in its process that cannot be undone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

_WATCHED: tuple[ModuleType | type, ...] = (
    *(torch, torch.Tensor, torch.nn.functional, torch.linalg, torch.optim),
    *(nn.Module, nn.Conv2d, nn.Linear, nn.BatchNorm2d, np, np.linalg, np.random),
)
"""Where a replaced function would change the numbers of other trials."""


class Residue:
    """A record of a process, to be compared with what it is like later."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._functions = [dict(vars(place)) for place in _WATCHED]
        self._threads = set(threading.enumerate())
        self._children = {child.pid for child in self._process.children()}
        self._modules = dict(sys.modules)
        self._system = _system()

    def found(self) -> list[str]:
        """What is there now and was not before, in words; empty if nothing."""
        found = [
            f"{place.__name__}.{name} was replaced"
            for place, before in zip(_WATCHED, self._functions, strict=True)
            for name, value in vars(place).items()
            if callable(value) and name in before and before[name] is not value
        ]
        threads = [t for t in threading.enumerate() if t not in self._threads and t.is_alive()]
        found += [f"thread {thread.name} is running" for thread in threads]
        children = [c for c in self._process.children() if c.pid not in self._children]
        found += [f"process {child.pid} is running" for child in children]
        found += [
            f"module {name} was replaced"
            for name, module in self._modules.items()
            if sys.modules.get(name) is not module
        ]
        return found + [name for name, value in _system().items() if value != self._system[name]]


def _system() -> dict[str, Any]:
    """What the system does with this process, by name."""
    found: dict[str, Any] = {"standard streams": (sys.stdout, sys.stderr)}
    if os.name == "posix":
        import resource

        kinds = (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)
        found["resource limits"] = [resource.getrlimit(kind) for kind in kinds]
        found["timer"] = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    return found
