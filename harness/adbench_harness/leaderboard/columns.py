"""The columns of a leaderboard: their order, the better direction, and the format of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adbench_harness.basic.metrics import METRICS as METRICS_OF_EVERY_RUN
from adbench_harness.results.store import Heading, TrialResult
from adbench_harness.types import Unit

AXES = ("dataset", "preprocessor", "augmenter", "model", "scorer", "backbone", "device")
KEYS = ("dataset", "category", "preprocessor", "augmenter", "model", "scorer", "backbone", "device")
UNRANKED = frozenset({"test-selected", "transductive"})
ABSENT = "–"
NATIVE = "native"
"""The stored name of the evaluation size that is each image's own."""


class Show(Protocol):
    """Formats a number and its spread (NaN: none)."""

    def __call__(self, value: float, spread: float = math.nan, /) -> str: ...


def percent(value: float, spread: float = math.nan) -> str:
    """A fraction in percent, as papers print it: 98.1."""
    return _plus_minus(100 * value, 100 * spread, 1)


def plain(value: float, spread: float = math.nan) -> str:
    """A number without a unit."""
    return _plus_minus(value, spread, 3)


def cost(value: float, _: float = math.nan) -> str:
    """A time or a size with about three digits; only the CSV contains its spread."""
    return f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def count(value: float, _: float = math.nan) -> str:
    """A count with its magnitude: 24.9 M."""
    for power, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= power:
            return f"{value / power:.1f}{suffix}"
    return f"{value:.0f}"


def _plus_minus(value: float, spread: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text if math.isnan(spread) else f"{text} ± {spread:.{decimals}f}"


_SHOWN: Mapping[Unit, Show] = {
    "%": percent,
    "": plain,
    "count": count,
    "s": cost,
    "ms": cost,
    "MB": cost,
}


@dataclass(frozen=True)
class Column(Heading):
    """A metric as a table shows it."""

    @property
    def show(self) -> Show:
        """The format of the metric's numbers."""
        return _SHOWN[self.unit]

    @property
    def header(self) -> str:
        """The title, and an arrow for the better direction."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    def cells(
        self,
        means: Iterable[float],
        spreads: Iterable[float],
        seen: Iterable[int],
        totals: Iterable[int],
    ) -> list[str]:
        """Means over ``seen`` of ``totals`` categories; the count is shown if some are missing."""
        return [
            ABSENT
            if not have
            else self.show(mean, spread) + (f" ({have}/{total})" if have < total else "")
            for mean, spread, have, total in zip(means, spreads, seen, totals, strict=True)
        ]

    def best(self, means: NDArray[np.float64], eligible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which ``eligible`` numbers are shown like the best one; none if fewer than two are."""
        if eligible.sum() < 2:
            return np.zeros_like(eligible)
        contest = means[eligible]
        best = self.show(contest.max() if self.higher_is_better else contest.min())
        ties = [self.show(mean) == best for mean in means]
        return np.logical_and(eligible, ties)


METRICS = (
    *("image_auroc", "image_ap", "image_f1"),
    *("pixel_auroc", "pixel_ap", "pixel_f1", "aupro", "aupro_005"),
    *("accuracy", "macro_recall", "macro_precision", "macro_f1"),
    *("params", "flops", "fit_seconds", "ms_per_image", "ms_per_image_batched", "peak_mb"),
)
"""The metrics that every table begins with, in this order."""
COUNTS = ("params", "flops")
COSTS = (*COUNTS, "fit_seconds", "ms_per_image", "ms_per_image_batched", "peak_mb")
MEASURED = frozenset(COSTS) - frozenset(COUNTS)
"""The costs that depend on the machine and on what else runs on it."""
PRIMARY = ("image_auroc", "pixel_auroc", "accuracy")
MAIN = (*PRIMARY, "aupro", "macro_f1", "ms_per_image", "peak_mb")
"""The metrics that a table shows if none are named; it also shows those of other plugins."""


def headings(results: Iterable[TrialResult]) -> dict[str, Heading]:
    """The headings of all metrics in the results."""
    return {name: found for result in results for name, found in result.columns.items()}


def column(metric: str, headings: Mapping[str, Heading]) -> Column:
    """A metric's column; if no result has it, a metric of every run is named as there."""
    usual = {one.name: Heading.of(one) for one in METRICS_OF_EVERY_RUN}
    found = headings.get(metric) or usual.get(metric) or Heading(metric)
    return Column(found.title, found.unit, found.higher_is_better)


def primary(metrics: Sequence[str]) -> str:
    """The one of these metrics that ranks a table."""
    return next((name for name in PRIMARY if name in metrics), metrics[0])


def main(metrics: Sequence[str], asked: Sequence[str] = ()) -> list[str]:
    """The ones of these metrics that a table shows by default: the main ones and those ``asked``.

    If no metric is among those that can rank a table, all scores are shown.
    """
    ranks = any(name in PRIMARY for name in metrics)
    return [
        name
        for name in metrics
        if name in (*MAIN, *asked) or name not in METRICS or (not ranks and name not in COSTS)
    ]


def flag_text(flag: str) -> str:
    """A row's flag as a sentence for the reader; settings are stored as ``name=value``."""
    name, _, value = flag.partition("=")
    if name == "size":
        return f"maps scored at {value} px" if value != NATIVE else "maps scored at full size"
    if name == "border":
        return "border scored" if value == "full" else "cropped border left out"
    return flag
