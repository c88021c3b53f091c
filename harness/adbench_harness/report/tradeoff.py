"""The data of the plot of any metric against any other: accuracy against cost, to begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adbench_harness.leaderboard.columns import Column
from adbench_harness.leaderboard.frame import Summary
from adbench_harness.report import groups

_CHEAP = ("ms_per_image", "flops")
"""The costs that the plot begins with, if they were measured."""


@dataclass(frozen=True)
class Point:
    """A row of the plot: what the board says of it, and its key in a summary."""

    label: str
    page: str
    rank: str
    model: str
    key: tuple[str, ...]


def tradeoff(
    points: Sequence[Point], summary: Summary, columns: Mapping[str, Column], lead: str
) -> Mapping[str, Any] | None:
    """The plot's axes, its first two, and its rows; None if no cost was measured.

    A row has None instead of a number that may not be compared: it lacks a category, or the row
    used the test images for a choice.
    """
    axes = {name: shown for name, shown in columns.items() if summary.mean[name].notna().any()}
    costs = [name for name, shown in axes.items() if groups.is_cost(shown)]
    if not costs or lead not in axes:
        return None
    kinds = {name: groups.group(name, shown) for name, shown in axes.items()}
    return {
        "axes": [
            {
                "name": name,
                "title": shown.title,
                "unit": shown.unit,
                "higher": shown.higher_is_better,
                "group": kinds[name],
            }
            for name, shown in axes.items()
        ],
        "groups": groups.present(kinds.values()),
        "x": next((name for name in _CHEAP if name in costs), costs[0]),
        "y": lead,
        "rows": [
            {
                "label": point.label,
                "page": point.page,
                "rank": point.rank,
                "model": point.model,
                "values": {name: _value(summary, point.key, name) for name in axes},
            }
            for point in points
        ],
    }


def _value(summary: Summary, key: tuple[str, ...], name: str) -> float | None:
    if not (summary.fair.loc[key] and summary.whole.loc[key, name]):
        return None
    return float(summary.mean.loc[key, name])  # type: ignore[arg-type]  # a number, by its column
