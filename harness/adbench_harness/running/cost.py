"""Measures what a pipeline costs: FLOPs, milliseconds, memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psutil
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from adbench_harness.nn import neighbours
from adbench_harness.results.store import Heading

T = TypeVar("T")

HEADINGS = {
    "params": Heading("params", "count", higher_is_better=False),
    "flops": Heading("FLOPs", "count", higher_is_better=False),
    "fit_seconds": Heading("fit s", "s", higher_is_better=False),
    "ms_per_image": Heading("ms/image", "ms", higher_is_better=False),
    "ms_per_image_batched": Heading("ms/image batched", "ms", higher_is_better=False),
    "peak_mb": Heading("peak MB", "MB", higher_is_better=False),
}
"""The costs that every run reports beside its metrics."""


def flops(work: Callable[[], Any]) -> int:
    """Floating-point operations of matrix products and convolutions; a multiply-add is 2."""
    from torch.utils.flop_counter import flop_registry  # takes long to load

    counter = _Flops(flop_registry)
    # Attention as plain matrix products: torch has no formula for some of its fused kernels.
    with neighbours.counted(), sdpa_kernel(SDPBackend.MATH), counter:
        work()
    return counter.total


class _Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types none of this
    """Adds up torch's own formulas, like its FlopCounterMode, which is much slower to start."""

    def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.formulas = formulas
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its whole compiler, which takes three seconds, to exclude this.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = self.formulas.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        result = func(*args, **kwargs)
        self.total += int(formula(*args, **kwargs, out_val=result))
        return result


def milliseconds(work: Callable[[], T], device: torch.device, repeats: int = 3) -> tuple[float, T]:
    """Median wall time of ``work``, until the device has finished, and the last returned value.

    The first of several repeats is a warm-up and does not count.
    """
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        result = work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[-repeats:]), result


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Memory:
    """Peak memory in MB, of the GPU or of the process, above what was in use at construction.

    Without a GPU the resident set is sampled, so peaks shorter than a few milliseconds may be
    missed.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        else:
            # Memory that earlier work freed must not hide what this work takes.
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
        self._base = self._used()

    def _used(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.memory_allocated(self._device))
        return int(self._process.memory_info().rss)

    @contextmanager
    def watch(self) -> Iterator[Callable[[], float]]:
        """Watch a block; the yielded function returns the block's peak so far in MB."""
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
