"""``adbench timings``: shows where the time of stored results went, and what sharing saved."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from adbench_harness.wording import counted

SUMMARY = "Show where the time of stored results went, by stage, and what sharing saved."
_STAGES = (
    *("load", "preprocess", "features", "fit", "scorer fit", "predict", "score"),
    *("cost", "metrics", "store", "other"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.results.store import Store

    took: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    trials = old = 0
    for result in Store.existing(given.results).read():
        if not result.seconds_shared:
            old += 1
            continue
        trials += 1
        took.update(_merged(result.seconds_shared))
        # Time outside all stages, and for a trial's own files, is never shared.
        own = {stage: result.seconds_shared.get(stage, 0.0) for stage in ("store", "other")}
        alone.update(_merged({**result.seconds_alone, **own}))
    if not trials:
        raise UserError(
            f"no result in '{given.results}' has timings; run the suite again into "
            "a new folder (--out)"
        )
    if old:
        print(f"left out: {old} results without timings", file=sys.stderr)
    total = took.total()
    rows = [
        {
            "stage": stage,
            "took (s)": f"{seconds:.2f}",
            "share": f"{seconds / total:.0%}",
            "if alone (s)": f"{apart:.2f}",
            "saved (s)": f"{apart - seconds:.2f}",
        }
        for stage, seconds, apart in (
            *((stage, took[stage], alone[stage]) for stage in _STAGES if stage in took),
            ("total", total, alone.total()),
        )
    ]
    print(options.table(rows))
    print()
    options.say(
        f"{counted(trials, 'trial')}. 'if alone' is the time of one separate run per trial. Work "
        "that trials share (images, features, a fitted model, its predictions) counts in each run."
    )
    return 0


def _merged(seconds: Mapping[str, float]) -> dict[str, float]:
    """The seconds, with the features of all splits as one stage."""
    merged: dict[str, float] = {}
    for stage, value in seconds.items():
        name = "features" if stage.startswith("features ") else stage
        merged[name] = merged.get(name, 0.0) + value
    return merged
