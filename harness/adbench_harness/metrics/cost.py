"""What a pipeline costs: FLOPs, milliseconds, memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from adbench_harness.nn import neighbours


def flops(work: Callable[[], Any]) -> int:
    """Floating-point operations of matrix products and convolutions, 2 a multiply-add."""
    with neighbours.counted(), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def milliseconds(work: Callable[[], Any], device: torch.device, repeats: int = 3) -> float:
    """Median wall time of ``work``, the device's queue drained; the first of several warms up."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[-repeats:])


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Memory:
    """Peak memory in MB above what was in use when this was made: of the GPU, or of the process.

    Without a GPU the resident set is sampled, so peaks shorter than a few milliseconds may pass
    unseen.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        else:
            # What earlier work freed must not hide what this work takes.
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
        self._base = self._used()

    def _used(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.memory_allocated(self._device))
        return int(self._process.memory_info().rss)

    @contextmanager
    def watch(self) -> Iterator[Callable[[], float]]:
        """Watch a block; the function it yields says the block's peak in MB so far."""
        peak = self._used()
        stop = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not stop.wait(0.005):
                peak = max(peak, self._used())

        def reading() -> float:
            if self._device.type == "cuda":
                highest = int(torch.cuda.max_memory_allocated(self._device))
            else:
                highest = max(peak, self._used())
            return max(0.0, (highest - self._base) / 2**20)

        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            yield reading
            return
        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield reading
        finally:
            stop.set()
            thread.join()
