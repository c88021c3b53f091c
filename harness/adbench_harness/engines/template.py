"""The process of which workers are copies, so that only one of them imports torch."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from types import ModuleType

from adbench_harness.errors import UserError

_MODULES = [
    *("adbench_harness.engines.worker", "adbench_harness.metrics.ranking"),
    "torch.utils.flop_counter",
]
"""What takes long to import; no module of a plugin, since it may do anything."""


def start() -> None:
    """Begin to import what workers need, in the background; the next workers start at once."""
    context()


@contextmanager
def no_main() -> Iterator[None]:
    """Hide the main module, which workers would import again: it may be a user's whole script."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def context() -> ForkServerContext | SpawnContext:
    """How processes start: as a copy of the template where there can be one, otherwise afresh."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    made = multiprocessing.get_context("forkserver")
    with no_main():
        made.set_forkserver_preload(_MODULES)
        try:
            forkserver.ensure_running()
        except OSError as error:  # a socket's path may have about 100 characters
            raise UserError(
                f"worker processes cannot start ({error}); let TMPDIR name a folder with a short "
                "path, or run with --engine inline"
            ) from error
    return made
