"""The race: our work beside a named peer's, in one run on the same inputs; a row of one table."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from adbench_harness.running import cost

if folder := os.environ.get("ADBENCH_PEERS"):
    # Peers that no package index has; after everything installed, so that they hide nothing.
    sys.path.append(folder)

HEAD = """\
| work | ours | peer | its time | ratio | MB | limit | share of limit |
|---|---:|---|---:|---:|---|---|---:|
"""
_rows: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--speed-table", type=Path, help="also write the table of races to this file")
    parser.addoption("--growth", type=Path, help="full sizes; plot and table into this folder")


@dataclass(frozen=True)
class Limit:
    """What the hardware would need for the same work, and what that is bound by."""

    seconds: float
    bound: str


class Machine:
    """What the device can do, measured in this run."""

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cache  # noqa: B019  # one machine a session
    def _rate(self, dtype: torch.dtype) -> float:
        """Operations a second of a large matrix product, 2 a multiply-add."""
        side = 8192 if self.device.type == "cuda" else 2048
        left = torch.randn(side, side, device=self.device).to(dtype)
        return 2 * side**3 / self._best(lambda: left @ left)

    @cache  # noqa: B019
    def _bandwidth(self) -> float:
        """Bytes a second that are read or written by a copy of 512 MB."""
        source = torch.zeros(2**27, device=self.device)
        target = torch.empty_like(source)
        return 2 * 2**29 / self._best(lambda: target.copy_(source))

    def _best(self, work: Callable[[], Any]) -> float:
        best = float("inf")
        for _ in range(6):
            start = time.perf_counter()
            work()
            cost.synchronise(self.device)
            best = min(best, time.perf_counter() - start)
        return best

    def products(self, operations: float, dtype: torch.dtype = torch.float32) -> Limit:
        """The time of that many operations at the rate of a large matrix product."""
        name = str(dtype).removeprefix("torch.")
        return Limit(operations / self._rate(dtype), f"{name} products")

    def traffic(self, moved: float) -> Limit:
        """The time to read or write that many bytes once."""
        return Limit(moved / self._bandwidth(), "bandwidth")


@pytest.fixture(scope="session")
def machine() -> Machine:
    return Machine()


@pytest.fixture
def race(benchmark: Any, machine: Machine) -> Callable[..., Any]:
    """Runs ours and the peer's in turn, and gives what they returned.

    ``race(work, ours, peer, theirs, rounds=3, limit=None)``: ``rounds`` of ``theirs`` then
    ``ours``, no arguments each, after one of ours unmeasured; medians are compared. Peak memory
    above what was held before is that of the first measured round of each.
    """

    def run(
        work: str,
        ours: Callable[[], Any],
        peer: str,
        theirs: Callable[[], Any],
        *,
        rounds: int = 3,
        limit: Limit | None = None,
    ) -> tuple[Any, Any]:
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        memory: dict[str, float] = {}
        results: dict[str, Any] = {}

        def once(side: str, call: Callable[[], Any]) -> Any:
            results.pop(side, None)
            gc.collect()
            watch = cost.Memory(machine.device)
            with watch.watch() as peak:
                start = time.perf_counter()
                results[side] = call()
                cost.synchronise(machine.device)
                seconds[side].append(time.perf_counter() - start)
            memory.setdefault(side, peak())
            return results[side]

        def before() -> None:
            once("theirs", theirs)

        ours()
        benchmark.pedantic(lambda: once("ours", ours), setup=before, rounds=rounds)
        mine, their = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
        benchmark.extra_info.update(
            peer=peer,
            peer_seconds=their,
            ratio=their / mine,
            load=os.getloadavg()[0],
            threads=torch.get_num_threads(),
        )
        bound = f"{limit.seconds:.2g} s ({limit.bound})" if limit else ""
        share = f"{limit.seconds / mine:.0%}" if limit else ""
        _rows.append(
            f"| {work} | {_said(mine)} | {peer} | {_said(their)} | {their / mine:.3g} "
            f"| {memory['ours']:.0f} / {memory['theirs']:.0f} | {bound} | {share} |\n"
        )
        return results["ours"], results["theirs"]

    return run


def _said(seconds: float) -> str:
    return f"{seconds:.3g} s"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One table of all races, and where they were run."""
    if not _rows:
        return
    table = f"{_place()}\n\n{HEAD}{''.join(_rows)}"
    terminalreporter.section("races")
    terminalreporter.write(f"{table}\n")
    if path := config.getoption("--speed-table"):
        path.write_text(table)


def _place() -> str:
    machine = Machine()
    if machine.device.type == "cuda":
        name = torch.cuda.get_device_name()
    else:
        name = next(_cpu_names(), "CPU")
    return (
        f"{name}, {torch.get_num_threads()} threads of {psutil.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the end; torch {torch.__version__}. Ratio: the peer's time "
        "over ours; MB: peak memory, ours / the peer's."
    )


def _cpu_names() -> Iterator[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()
