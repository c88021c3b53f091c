"""What every engine sets in the process that computes: threads and the use of memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Environment variables that libraries read when they are first imported."""


def default_threads() -> int:
    """The number of threads of a trial: 1, or what OMP_NUM_THREADS says.

    It does not depend on the machine or on the number of workers, since sums over several threads
    are rounded in another order.
    """
    written = os.environ.get("OMP_NUM_THREADS", "")
    return int(written) if written.isdecimal() and int(written) > 0 else 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads in every library, as far as they can be told."""
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads(), cv2.getNumThreads()
    written = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))  # for libraries that are not loaded yet
    with threadpool_limits(count):
        torch.set_num_threads(count)
        cv2.setNumThreads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            cv2.setNumThreads(before[1])
            for name, value in written.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def reuse_memory() -> None:
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
