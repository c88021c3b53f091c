"""The scores of each image, a column for each row of the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.frame import method, select
from adbench_harness.leaderboard.labels import relabelled
from adbench_harness.results.store import Store, TrialResult

REPEATS = {"seed": "seed", "split_seed": "split", "shot_seed": "draw"}


def columns(results: Sequence[TrialResult], only: Mapping[str, str]) -> pd.DataFrame:
    """The trials that ran and that ``only`` selects, with the columns ``row`` and ``title``.

    ``row`` is the label of the row on the board, and ``title`` has its seeds if there are several.
    The index is that in ``results``.
    """
    trials = select(results, (), only)
    trials, _ = relabelled(trials, results)
    rows = titles = method(trials, but="dataset")  # which has a column of its own
    for key, name in REPEATS.items():
        if trials[key].nunique() > 1:
            titles = titles + f" · {name} " + trials[key].astype(str)
    return trials.assign(row=rows, title=titles)[trials["status"].eq("ok")]


def table(
    results: Sequence[TrialResult], store: Store, only: Mapping[str, str]
) -> tuple[pd.DataFrame, int, list[str]]:
    """One line per image, with a column per row of the board and seed; and the number of the rows.

    The third value names the rows without image scores. ``label`` is 0 for a normal image, 1 for an
    anomalous one, and empty if it is unknown. A score is empty if the row did not see the image.
    Raises UserError if no row has image scores.
    """
    parts: dict[str, list[pd.Series[float]]] = {}
    rows: set[tuple[str, str]] = set()
    without: dict[str, None] = {}
    for index, row in columns(results, only).iterrows():
        images = store.images(results[int(str(index))].trial)
        if "score" not in images:
            without[row["title"]] = None
            continue
        rows.add((row["dataset"], row["row"]))
        place = pd.DataFrame(
            {
                "dataset": row["dataset"],
                "category": row["category"],
                "image": images["path"],
                "label": pd.array(images["label"], dtype="Int64"),
                "defect": images["defect"],
            }
        )
        place.loc[place["label"] < 0, "label"] = pd.NA
        scores = pd.Series(images["score"], pd.MultiIndex.from_frame(place), dtype=float)
        parts.setdefault(row["title"], []).append(scores)
    if not parts:
        raise UserError(f"no result in '{store.root}' has image scores")
    together = pd.DataFrame({title: pd.concat(parts[title]) for title in sorted(parts)})
    together.index.names = ["dataset", "category", "image", "label", "defect"]
    return together, len(rows), list(without)
