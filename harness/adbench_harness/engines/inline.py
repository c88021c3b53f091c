"""Runs bundles one after the other in this process, where a debugger can follow them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adbench_harness.engines import process
from adbench_harness.planning import witness
from adbench_harness.running.bundle import run_bundle
from adbench_harness.running.watch import Watch

if TYPE_CHECKING:
    from adbench_harness.engines import Begin, Stage
    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle


@dataclass(frozen=True)
class Inline:
    """The engine of this process. ``threads`` is the number of threads that a trial computes with.

    A trial that ends the process ends the run, but ``os._exit`` is an error of the trial.
    """

    threads: int = 1

    def __call__(
        self, bundles: Sequence[Bundle], begin: Begin, stage: Stage
    ) -> Iterator[TrialResult]:
        process.reuse_memory()
        with process.threads(self.threads), witness.no_silent_exit():
            for bundle in bundles:
                if begun := begin(bundle):
                    yield from run_bundle(begun, Watch(stage=stage))
