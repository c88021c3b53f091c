"""Groups of metrics: what a reader shows or hides together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adbench_harness.leaderboard.columns import Column, primary

MAIN = "main"
TITLES = {
    MAIN: "Main",
    "image": "Image",
    "pixel": "Pixel",
    "class": "Classes",
    "other": "Other",
    "cost": "Cost",
}
"""The groups by name, in the order of a page."""
_CHOSEN = ("image_auroc", "pixel_auroc", "aupro", "accuracy", "macro_f1", "ms_per_image", "peak_mb")
_COSTS = ("count", "s", "ms", "MB")
_PREFIXES = {"image_": "image", "pixel_": "pixel", "aupro": "pixel", "macro_": "class"}


def is_cost(column: Column) -> bool:
    """Whether a metric says what a method costs, not how good it is."""
    return column.unit in _COSTS


def group(metric: str, column: Column) -> str:
    """The group of a metric, of ``TITLES``."""
    if is_cost(column):
        return "cost"
    if metric == "accuracy":
        return "class"
    found = (name for prefix, name in _PREFIXES.items() if metric.startswith(prefix))
    return next(found, "other")


def groups(metric: str, column: Column, lead: str | None) -> list[str]:
    """Every group that shows a metric: its own, and the main one for a chosen metric."""
    own = group(metric, column)
    return [MAIN, own] if metric in _CHOSEN or metric == lead else [own]


def lead(columns: Sequence[tuple[str, Column]], metric: str | None) -> str | None:
    """The metric that ranks: ``metric`` if it was measured, or else the most usual accuracy.

    None if nothing but costs was measured: then nothing ranks.
    """
    names = [name for name, column in columns if not is_cost(column)]
    if metric is not None and metric in dict(columns):
        return metric
    return primary(names) if names else None


def present(found: Iterable[str]) -> dict[str, str]:
    """The titles of the groups that occur, in the order of a page."""
    found = set(found)
    return {name: title for name, title in TITLES.items() if name in found}
