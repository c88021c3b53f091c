"""In which order bundles run, and into which parts they are split if there are many workers."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from adbench_harness.results.trial import Bundle, Trial
from adbench_harness.running.bundle import fit_key

PARTS = 3
"""How many parts a worker gets at least if bundles are large, so that all end at the same time."""
LARGE = 8
"""How many models a bundle needs for that; a smaller one would prepare its images too often."""


def schedule(bundles: Sequence[Bundle], workers: int) -> list[Bundle]:
    """The bundles, longest first; the longest are split by model so that no worker is idle.

    The parts of a bundle share its prepared images through the cache. Bundles whose trials ended
    their process before come last.
    """
    order = itertools.count()  # decides between equal estimates, so that the result is certain
    heap = [(-estimate(bundle), next(order), bundle) for bundle in bundles]
    heapq.heapify(heap)
    large = {id_ for b in bundles if len(fits(b)) >= LARGE for id_ in _ids(b)}
    most = sum(map(estimate, bundles)) / (workers * PARTS) if workers > 1 else math.inf
    whole: list[tuple[float, int, Bundle]] = []
    while heap:
        longest = heapq.heappop(heap)
        idle = len(heap) + len(whole) + 1 < workers
        uneven = -longest[0] > most and not large.isdisjoint(_ids(longest[2]))
        halves = _halves(longest[2]) if idle or uneven else ()
        for half in halves:
            heapq.heappush(heap, (-estimate(half), next(order), half))
        if not halves:
            whole.append(longest)
    return [bundle for *_, bundle in sorted(whole, key=_position)]


def _position(entry: tuple[float, int, Bundle]) -> tuple[bool, float, int]:
    return entry[2].suspect, entry[0], entry[1]


def _ids(bundle: Bundle) -> list[str]:
    return [trial.id for trial in bundle.trials]


def estimate(bundle: Bundle) -> float:
    """How long a bundle takes, in passes over one image: one to prepare it, two for each model."""
    return len(bundle.samples) * (1 + 2 * len(fits(bundle)))


def fits(bundle: Bundle) -> list[list[Trial]]:
    """The trials that share a fitted model, those with the same backbones next to each other."""
    found: dict[str, list[Trial]] = {}
    for trial in sorted(bundle.trials, key=lambda trial: trial.backbone):
        found.setdefault(fit_key(trial), []).append(trial)
    return list(found.values())


def part(bundle: Bundle, trials: Sequence[Trial]) -> Bundle:
    """The bundle with only these of its ``trials``, in its order."""
    kept = {trial.id for trial in trials}
    return replace(bundle, trials=tuple(t for t in bundle.trials if t.id in kept))


def singles(bundle: Bundle) -> Iterator[Bundle]:
    """A bundle for each model."""
    for trials in fits(bundle):
        yield part(bundle, trials)


def _halves(bundle: Bundle) -> tuple[Bundle, ...]:
    """Two parts with half of the models each; none if there is only one model."""
    found = fits(bundle)
    if len(found) < 2:
        return ()
    middle = len(found) // 2
    return tuple(
        part(bundle, list(itertools.chain(*some))) for some in (found[:middle], found[middle:])
    )
