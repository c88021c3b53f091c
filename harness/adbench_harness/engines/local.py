"""Bundles one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adbench_harness.material import Progress
from adbench_harness.results import TrialResult
from adbench_harness.run import run_bundle
from adbench_harness.trial import Bundle


def run(bundles: Iterable[Bundle], progress: Progress) -> Iterator[TrialResult]:
    """Each trial's result as soon as it is there."""
    for bundle in bundles:
        yield from run_bundle(bundle, progress)
