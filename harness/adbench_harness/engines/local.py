"""Runs bundles one after the other in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import suppress

from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Bundle
from adbench_harness.running.bundle import run_bundle
from adbench_harness.running.material import Progress

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def run(bundles: Iterable[Bundle], progress: Progress) -> Iterator[TrialResult]:
    """Yield each trial's result as soon as it is ready."""
    _reuse_memory()
    for bundle in bundles:
        yield from run_bundle(bundle, progress)


def _reuse_memory() -> None:
    """Keep freed memory for the next tensor.

    Otherwise glibc returns every large block to the kernel, and in measurements a third of a run's
    time went into getting the memory again, page by page. Blocks above 64 MB are still returned:
    keeping them fragmented the memory, which doubled its size, and returning them cost no time that
    could be measured.
    """
    with suppress(OSError, AttributeError):
        malloc = ctypes.CDLL(None)
        malloc.mallopt(_M_MMAP_THRESHOLD, 2**26)
        malloc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
