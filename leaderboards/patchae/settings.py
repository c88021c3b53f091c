"""Print the study of Patch AE's settings as a table, one row a setting.

python leaderboards/patchae/settings.py leaderboards/patchae/sensitivity

Image / pixel AUROC in %, the effective rank of the features, and the share of their variance that
the brightness of the patch explains. *mini* is the mean of its categories. Rows are in the order of
the mean image AUROC; those that lack a data set come last.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from adbench_harness.results.store import Store, TrialResult

SETS = {"bottle": ["bottle"], "tiles": ["magnetic_tile"]}
MINI = ["brick", "capsule", "grass", "gravel", "metal"]
SETTINGS = {
    "epochs": "epochs",
    "backbone_rate": "backbone's rate",
    "alpha": "alpha",
    "width": "width",
}


def main(folder: Path) -> None:
    """Print a table for each backbone."""
    store = Store.existing(folder)
    rows: dict[str, dict[tuple[str, ...], dict[str, list[float]]]] = {}
    for result in store.read():
        trial = result.trial
        values = [100 * result.metrics["image_auroc"], 100 * result.metrics["pixel_auroc"]]
        curves = store.curves(trial)
        if "effective rank" in curves:
            values += [
                curves["effective rank"][0],
                100 * curves["variance explained by brightness"][0],
            ]
        table = rows.setdefault(trial.backbone, defaultdict(dict))
        table[_setting(result)][trial.category] = values
    for backbone, table in sorted(rows.items()):
        sys.stdout.write(f"{backbone}:\n\n{_table(table)}\n")


def _setting(result: TrialResult) -> tuple[str, ...]:
    """What the row's first cells say."""
    params = result.trial.model.params
    if "epochs" not in params:
        return (result.trial.model.name, *[""] * len(SETTINGS))
    cells = [f"{params[name]:g}" for name in SETTINGS]
    if not params["epochs"]:
        cells[1] = cells[2] = "–"  # they say how to train
    return (*cells, "yes" if result.trial.augmenter is not None else "no")


def _table(table: dict[tuple[str, ...], dict[str, list[float]]]) -> str:
    sets = SETS | {"mini": MINI}
    means: dict[tuple[str, ...], list[Any]] = {}
    for setting, found in table.items():
        means[setting] = [
            np.mean([found[one] for one in names], axis=0) if set(names) <= set(found) else None
            for names in sets.values()
        ]

    def overall(setting: tuple[str, ...]) -> tuple[bool, float]:
        known = [mean[0] for mean in means[setting] if mean is not None]
        return len(known) == len(sets), float(np.mean(known))

    head = [*SETTINGS.values(), "pseudo-anomalies", *sets, "mean", "effective rank", "brightness"]
    lines = [head, ["---"] * len(head)]
    for setting in sorted(means, key=overall, reverse=True):
        there = [mean for mean in means[setting] if mean is not None]
        cells = ["–" if m is None else f"{m[0]:.1f} / {m[1]:.1f}" for m in means[setting]]
        whole, mean = overall(setting)
        cells.append(f"{mean:.1f}" if whole else "–")
        for place, unit in ((2, ""), (3, "%")):
            cells.append(" / ".join(f"{m[place]:.0f}{unit}" for m in there if len(m) > place))
        lines.append([*setting, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
