"""Estimates how long the rest of a run takes, from the trials that are done."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adbench_harness.results.trial import Bundle, Trial

ENOUGH = 3
"""The number of trials after which an estimate is worth showing."""


@dataclass(frozen=True)
class _Step:
    """A trial in the order of a run, with what it is the first to need, and its number of images.

    Trials share work: the first one of a bundle prepares the images, the first one of a backbone
    computes its features, and the first one of a fit trains the model.
    """

    first: tuple[bool, bool, bool]
    model: str
    scorer: str
    images: int

    def likeness(self, other: _Step) -> int:
        """How well the duration of ``other`` predicts that of this step; 0 is best."""
        same = (self.first == other.first, self.model == other.model, self.scorer == other.scorer)
        order = [
            (True, True, True),
            (True, True, False),
            (True, False, True),
            (True, False, False),
        ]
        if same in order:
            return order.index(same)
        # A trial that trains a model is more like any other that does than like one that does not.
        fits = self.first[2] == other.first[2]
        return len(order) + 2 * (not fits) + (self.model != other.model)


class TimeLeft:
    """The time that the trials of ``bundles`` still need."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self._steps = {trial.id: step for bundle in bundles for trial, step in _steps(bundle)}
        self._left = dict(self._steps)
        self._seen: list[tuple[_Step, float]] = []

    def done(self, trial: Trial, seconds: float) -> None:
        """A trial was finished ``seconds`` after the one before it."""
        step = self._left.pop(trial.id, None)
        if step is not None:
            self._seen.append((step, seconds))

    def seconds(self) -> float | None:
        """The estimate for all trials that are not done; None if it would be a guess."""
        if len(self._seen) < ENOUGH:
            return None
        known: dict[_Step, float] = {}
        return sum(known.setdefault(step, self._expected(step)) for step in self._left.values())

    def _expected(self, step: _Step) -> float:
        best = min(step.likeness(seen) for seen, _ in self._seen)
        alike = [
            seconds * step.images / seen.images
            for seen, seconds in self._seen
            if step.likeness(seen) == best
        ]
        # Not the mean: the first trial of a run also loads libraries and compiles kernels.
        return statistics.median(alike)


def _steps(bundle: Bundle) -> Iterator[tuple[Trial, _Step]]:
    fits: dict[Any, list[Trial]] = {}
    for trial in bundle.trials:
        fits.setdefault(_fit(trial), []).append(trial)
    backbones: set[Any] = set()
    first = True
    for trials in fits.values():
        for number, trial in enumerate(trials):
            new = trial.weights not in backbones
            backbones.add(trial.weights)
            step = _Step(
                (first, new, number == 0),
                trial.model.name,
                trial.scorer.name,
                max(len(bundle.samples), 1),
            )
            first = False
            yield trial, step


def _fit(trial: Trial) -> tuple[Any, ...]:
    """What one fitted model belongs to."""
    category = "" if trial.unified else trial.category
    seeds = trial.seed, trial.split_seed, trial.shots, trial.shot_seed
    return trial.model, trial.augmenter, trial.weights, category, *seeds
