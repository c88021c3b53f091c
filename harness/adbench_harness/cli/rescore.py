"""``adbench rescore``: computes metrics again from stored scores and maps."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from adbench_harness.wording import counted

SUMMARY = "Compute metrics again from stored scores and maps, without running a model."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the new results")
    parser.add_argument("--metrics", metavar="NAMES", help="metrics (default: all that apply)")
    parser.add_argument(
        "--eval-size", type=int, metavar="PX", help="longer side at which maps are scored"
    )
    parser.add_argument(
        "--eval-border",
        choices=("full", "crop"),
        help="score the border that a crop removed, or leave it out",
    )
    options.add_plugins(parser)
    options.add_data(parser)


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.results.store import Store

    old = Store.existing(given.results)
    from adbench_harness import leaderboard
    from adbench_harness.planning import grammar, suite
    from adbench_harness.results.trial import EvaluationSettings
    from adbench_harness.running.rescore import rescore

    new = Store(Path(given.out))
    if new.root.resolve() == old.root.resolve():
        raise UserError("--out is the folder of the old results; name another")
    asked = {"size": given.eval_size, "border": given.eval_border or "full"}
    checked = suite.validate({"plugins": ["any"], "evaluation": asked}, "command line")
    settings = EvaluationSettings(**checked.evaluation.model_dump())
    catalogue = options.loaded(given)
    metrics = catalogue.metrics(grammar.names(given.metrics or "") or None)
    images = _Images(given, catalogue)
    done, bare = [], 0
    for result in sorted(old.read(), key=lambda result: _place(result.trial)):
        if result.status != "ok":
            continue
        stored = old.maps(result.trial) is not None
        bare += not stored
        here = images.of(result.trial) if stored else None
        done.append(rescore(result, old, here, metrics, settings))
        new.write(done[-1])
    if not done:
        raise UserError(f"no finished trial in '{given.results}'")
    if bare and any(metric.needs in ("map", "regions") for metric in metrics):
        print(
            f"{bare} of {counted(len(done), 'trial')} stored no maps, so their pixel metrics are "
            "left out; run them with --keep-maps",
            file=sys.stderr,
        )
    print(f"{counted(len(done), 'trial')} rescored; results in {new.root}\n")
    print(
        leaderboard.render(
            done,
            store=new.root,
            width=shutil.get_terminal_size((80, 24)).columns,
            color=sys.stdout.isatty(),
        )
    )
    return 0


def _place(trial: Any) -> tuple[Any, ...]:
    """Everything that the ground truth depends on."""
    dataset = trial.dataset.label
    return dataset, trial.category, trial.protocol, trial.split_seed, trial.fingerprint


class _Images:
    """The images of one category at a time: all masks may not fit in memory."""

    def __init__(self, given: argparse.Namespace, catalogue: Any) -> None:
        self._locations = options.data_locations(given)
        self._locations.check(catalogue.offers["dataset"])
        self._catalogue = catalogue
        self._last: tuple[Any, Any] = (None, None)

    def of(self, trial: Any) -> Any:
        from adbench_harness.running.images import TrialImages

        if self._last[0] != _place(trial):
            self._last = _place(trial), TrialImages(trial, self._catalogue, self._locations)
        return self._last[1]
