"""Numbers that papers printed, as rows next to the measured ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from adbench_harness.leaderboard.columns import AXES
from adbench_harness.results.trial import NONE, SHORTENED

if TYPE_CHECKING:
    from adbench_harness.types import Reported

MEAN = "mean"
_PRINTED_AS = "printed-as-"


def beside(trials: pd.DataFrame, rows: Iterable[Reported]) -> tuple[pd.DataFrame, list[str]]:
    """``trials`` with one row per printed method and category, and notes on what was left out.

    A number is in the column of the heading under which it was printed. A model with a shortened
    schedule is left out, since it does not reproduce the paper.
    """
    short = trials["flags"].map(lambda flags: SHORTENED in flags)
    left_out = ", ".join(sorted(trials.loc[short, "model"].unique()))
    notes = [f"left out next to printed numbers: {left_out}"] if left_out else []
    # A value that all measured rows share must not distinguish printed rows, so they get it too.
    shared = {
        axis: trials[axis].iloc[0] for axis in ("backbone", "device") if trials[axis].nunique() == 1
    }
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    numbers = set(trials.select_dtypes(float).columns)
    for row in rows:
        key = (row.method, row.dataset, row.category)
        entry = found.setdefault(
            key,
            {
                **dict.fromkeys(AXES, NONE),
                **shared,
                "dataset": row.dataset,
                "category": row.category,
                "model": f"{row.method} (reported)",
                "seed": 0,
                "split_seed": 0,
                "shot_seed": 0,
                "status": "ok",
                "flags": (),
                "marks": {},
                "covers": row.categories,
                "reported": True,
                "hides": 0,
            },
        )
        as_printed = {
            mark.removeprefix(_PRINTED_AS).replace("-", "_")
            for mark in row.marks
            if mark.startswith(_PRINTED_AS)
        }
        metric = min(as_printed, default=row.metric)
        entry[metric] = row.value
        numbers.add(metric)
        entry["flags"] += row.marks
        entry["marks"][metric] = dict.fromkeys(row.marks, row.source)
    together = pd.concat([trials[~short], pd.DataFrame(list(found.values()))], ignore_index=True)
    texts = together.columns.difference([*numbers, "covers", "reported", "hides"])
    together = together.fillna(dict.fromkeys(texts, NONE))
    return together.astype({name: float for name in numbers if name in together}), notes


def means_first(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials without the printed categories of a method whose mean was printed too."""
    mean = trials["reported"] & trials["category"].eq(MEAN)
    has_mean = mean.groupby([trials["dataset"], trials["model"]]).transform("any")
    return trials.loc[~trials["reported"] | mean | ~has_mean]


def footnotes(trials: pd.DataFrame, metrics: Iterable[str]) -> dict[str, list[str]]:
    """The marks of printed numbers of ``metrics``, each with the sources that explain it."""
    found: dict[str, list[str]] = {}
    for marks in trials["marks"]:
        for metric in metrics:
            for mark, source in marks.get(metric, {}).items():
                found.setdefault(mark, [])
                if source not in found[mark]:
                    found[mark].append(source)
    return found


def symbol(number: int) -> str:
    """The sign of a table's footnote ``number``; the dagger has its own meaning."""
    return "‡§¶#"[number] if number < 4 else f"[{number}]"
