"""Trials of two stores, matched by everything except versions, and a verdict on each pair.

Better scores under an unchanged version are also ``changed``: on a few images a mistake may look
like an improvement. ``better`` means lower cost with the same scores.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from adbench_harness.compare.images import ImageChanges, aligned, changes
from adbench_harness.leaderboard.columns import COUNTS, column
from adbench_harness.planning.suite import Tolerance
from adbench_harness.results.differences import (
    changed_materials,
    changed_values,
    changed_versions,
    components,
)
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.results.trial import NONE, Trial, show
from adbench_harness.statistics.significance import LEVEL

Verdict = Literal[
    "failed", "missing", "worse", "changed", "re-baseline", "better", "as good", "new"
]
VERDICTS: tuple[Verdict, ...] = (
    *("failed", "missing", "worse", "changed"),
    *("re-baseline", "better", "as good", "new"),
)
"""The most serious verdict first."""
BAD: frozenset[Verdict] = frozenset(VERDICTS[:4])
NOISY = ("fit_seconds", "ms_per_image", "ms_per_image_batched", "peak_mb")
OF_IMAGES = ("image_auroc", "image_ap", "image_f1")
"""Metrics of image scores; the paired test of AUROCs applies to them."""


@dataclass(frozen=True)
class Difference:
    """A metric in both runs; ``new`` is nan if it is missing.

    ``allowed`` is a distance, or the factor by which a cost may grow. The verdict on a noisy cost
    depends on ``growth``, its median factor over the trials of the model.
    """

    metric: str
    old: float
    new: float
    allowed: float
    verdict: Verdict
    p: float = math.nan
    growth: float = math.nan

    @property
    def is_cost(self) -> bool:
        """Whether less of it is always better if the scores are the same."""
        return self.metric in (*COUNTS, *NOISY)


@dataclass(frozen=True)
class Pair:
    """A trial in one or both runs; ``versions`` are differences that prevent a comparison.

    For a missing trial, they are the differences from the most similar trial that is new.
    """

    verdict: Verdict
    old: TrialResult | None
    new: TrialResult | None
    versions: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    images: ImageChanges = field(default_factory=ImageChanges)

    @property
    def trial(self) -> Trial:
        """The new trial if it was run, else the old one."""
        result = self.new or self.old
        assert result is not None
        return result.trial


@dataclass(frozen=True)
class Comparison:
    """All pairs, the most serious first."""

    pairs: tuple[Pair, ...]
    tolerance: Tolerance

    @property
    def counts(self) -> dict[Verdict, int]:
        """The number of pairs with each verdict, the most serious first."""
        found = Counter(pair.verdict for pair in self.pairs)
        return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}

    @property
    def exit_code(self) -> int:
        """0: as good; 1: worse, changed, missing or failed; 2: a pair cannot be compared."""
        return 1 if BAD & self.counts.keys() else 2 if "re-baseline" in self.counts else 0


def compare(baseline: Store, new: Store, tolerance: Tolerance) -> Comparison:
    """Compare the results in ``new`` with the accepted ones in ``baseline``."""
    matched = _matched(latest(baseline), latest(new))
    growth = _growth(matched)
    pairs = [_pair(old, now, baseline, new, tolerance, growth) for old, now in matched]
    pairs = _with_nearest(pairs)
    pairs.sort(key=lambda pair: VERDICTS.index(pair.verdict))
    return Comparison(tuple(pairs), tolerance)


_Sides = tuple[TrialResult | None, TrialResult | None]


def _matched(
    old_results: Mapping[str, TrialResult], new_results: Mapping[str, TrialResult]
) -> list[_Sides]:
    """Pairs of the same trial; and of one whose only counterpart has other values of parameters."""
    matched: list[_Sides] = []
    alone: dict[str, tuple[list[TrialResult], list[TrialResult]]] = {}
    for key in sorted(old_results.keys() | new_results.keys()):
        old, new = old_results.get(key), new_results.get(key)
        if old and new:
            matched.append((old, new))
            continue
        for side, result in enumerate((old, new)):
            if result:
                alone.setdefault(_names(result.trial), ([], []))[side].append(result)
    for olds, news in alone.values():
        if len(olds) == len(news) == 1:
            matched.append((olds[0], news[0]))
        else:
            matched += [*((old, None) for old in olds), *((None, new) for new in news)]
    return matched


def _with_nearest(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs; a missing trial gets its differences from the most similar one that is new."""
    added = [pair.trial for pair in pairs if pair.verdict == "new"]
    found = []
    for pair in pairs:
        if pair.verdict == "missing" and added:
            ways = [tuple(_changes(pair.trial, trial)) for trial in added]
            pair = replace(pair, versions=min(ways, key=len))
        found.append(pair)
    return found


def latest(store: Store) -> dict[str, TrialResult]:
    """The result that was finished last, by the trial without its versions."""
    results = sorted(store.read(), key=lambda result: result.provenance.get("finished", ""))
    return {_identity(result.trial): result for result in results}


def _identity(trial: Trial) -> str:
    return json.dumps(
        [
            *(trial.title, trial.protocol, trial.setting, trial.split_seed, trial.shot_seed),
            *(trial.backbone, asdict(trial.evaluation)),
        ]
    )


def _names(trial: Trial) -> str:
    """What identifies a trial apart from the values of its components' parameters."""
    return json.dumps(
        [
            *(trial.dataset.name, trial.category, trial.protocol, trial.setting),
            *(trial.seed, trial.split_seed, trial.shot_seed),
            [choice.name for choice in components(trial)],
        ]
    )


def _changes(old: Trial, new: Trial) -> Iterator[str]:
    """In which respects two trials of any kind differ, apart from versions.

    If they are on different data sets, nothing else matters.
    """
    if old.dataset.name != new.dataset.name:
        yield f"data set: {old.dataset.name} → {new.dataset.name}"
        return
    for what, before, now in (
        ("category", old.category, new.category),
        ("setting", old.setting or old.protocol, new.setting or new.protocol),
        ("preprocessor", _chain(old), _chain(new)),
        ("augmenter", old.augmenter and old.augmenter.name, new.augmenter and new.augmenter.name),
        ("model", old.model.name, new.model.name),
        ("scorer", old.scorer.name, new.scorer.name),
        ("seed", old.seed, new.seed),
        ("split seed", old.split_seed, new.split_seed),
        ("shot seed", old.shot_seed, new.shot_seed),
    ):
        if before != now:
            yield f"{what}: {show(before)} → {show(now)}"
    yield from changed_values(old, new)


def _chain(trial: Trial) -> str:
    return "+".join(choice.name for choice in trial.preprocessors) or NONE


def _versions(old: Trial, new: Trial) -> Iterator[str]:
    """Reasons other than code for different numbers."""
    yield from changed_values(old, new)
    yield from changed_versions(old, new)
    yield from changed_materials(old, new)


def _growth(matched: Sequence[tuple[TrialResult | None, TrialResult | None]]) -> dict[Any, float]:
    """By model and noisy cost: the median over its trials of the new value divided by the old one.

    A single measurement depends on what else the machine did; a model that became slower is slower
    in all of its trials. Times on different kinds of device cannot be compared.
    """
    ratios: dict[tuple[str, str], list[float]] = {}
    for old, new in matched:
        if old is None or new is None or any(_versions(old.trial, new.trial)):
            continue
        if old.provenance.get("device") != new.provenance.get("device"):
            continue
        for metric in NOISY:
            if old.metrics.get(metric, 0) > 0 and metric in new.metrics:
                ratio = new.metrics[metric] / old.metrics[metric]
                ratios.setdefault((new.trial.model.label, metric), []).append(ratio)
    return {key: statistics.median(values) for key, values in ratios.items()}


def _pair(
    old: TrialResult | None,
    new: TrialResult | None,
    baseline: Store,
    store: Store,
    tolerance: Tolerance,
    growth: Mapping[Any, float],
) -> Pair:
    if new is None:
        return Pair("missing", old, new)
    if new.status == "failed":
        return Pair("failed", old, new)
    if old is None or old.status == "failed":
        return Pair("new", None, new)
    accepted = baseline.images(old.trial)
    found, reasons = aligned(accepted, store.images(new.trial))
    if versions := (*dict.fromkeys(_versions(old.trial, new.trial)), *reasons):
        return Pair("re-baseline", old, new, versions)
    images = changes(accepted, found, tolerance.scores)
    differences = tuple(_differences(old, new, images, tolerance, growth))
    verdicts: set[Verdict] = {"as good", *(one.verdict for one in differences)}
    if images.moved or any(one.verdict == "better" and not one.is_cost for one in differences):
        verdicts.add("changed")
    return Pair(min(verdicts, key=VERDICTS.index), old, new, (), differences, images)


def _differences(
    old: TrialResult,
    new: TrialResult,
    images: ImageChanges,
    tolerance: Tolerance,
    growth: Mapping[Any, float],
) -> Iterator[Difference]:
    for metric, before in old.metrics.items():
        after = new.metrics.get(metric, math.nan)
        if metric in NOISY:
            allowed = tolerance.each.get(metric, tolerance.noise)
            times = growth.get((new.trial.model.label, metric), math.nan)
            verdict: Verdict = "worse" if times > allowed else "as good"
            if metric not in new.metrics:
                verdict = "missing"
            yield Difference(metric, before, after, allowed, verdict, growth=times)
            continue
        default = 1.0 if metric in COUNTS else tolerance.metrics
        allowed = tolerance.each.get(metric, default)
        p = images.p if metric in OF_IMAGES else math.nan
        verdict = _verdict(metric, old, before, after, allowed, p)
        yield Difference(metric, before, after, allowed, verdict, p)


def _verdict(
    metric: str, result: TrialResult, old: float, new: float, allowed: float, p: float
) -> Verdict:
    if math.isnan(new):
        return "missing"
    if metric in COUNTS:
        return "worse" if new > old * allowed else "better" if new * allowed < old else "as good"
    heading = column(metric, result.columns)
    gain = new - old if heading.higher_is_better else old - new
    if abs(gain) <= allowed:
        return "as good"
    if gain > 0:
        return "better"
    return "changed" if p >= LEVEL else "worse"
