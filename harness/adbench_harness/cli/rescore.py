"""``adbench rescore``: computes metrics again from stored scores and maps."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from adbench_harness.wording import counted, terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adbench_harness.planning.plugins import Catalogue
    from adbench_harness.results.store import TrialResult
    from adbench_harness.types import Metric

SUMMARY = "Compute metrics again from stored scores and maps, without running a model."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the new results")
    parser.add_argument(
        "--metrics", metavar="NAMES", help="metrics (default: those of the run's plugins)"
    )
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
    from adbench_harness.planning import grammar, plugins, suite
    from adbench_harness.results.claims import Claims
    from adbench_harness.results.trial import EvaluationSettings
    from adbench_harness.running.rescore import rescore

    new = Store(Path(given.out))
    if new.root.resolve() == old.root.resolve():
        raise UserError("--out is the folder of the old results; name another")
    evaluation = {"size": given.eval_size, "border": given.eval_border or "full"}
    checked = suite.validate({"plugins": ["any"], "evaluation": evaluation}, "command line")
    settings = EvaluationSettings(**checked.evaluation.model_dump())
    finished = [result for result in old.read() if result.status == "ok"]
    if not finished:
        raise UserError(f"no finished trial in '{given.results}'")
    mapped = {result.trial.id for result in finished if old.has_maps(result.trial)}
    if not mapped and (given.eval_size is not None or given.eval_border):
        raise UserError(
            f"no trial in '{given.results}' stored maps, so --eval-size and --eval-border would "
            "change nothing; run with --keep-maps"
        )
    catalogue = options.recorded(given, finished)
    asked = grammar.names(given.metrics or "")
    if not asked:
        _tell_unknown(finished, catalogue)
    own = plugins.load(grammar.names(given.plugins or "")).plugins.values()
    images = _Images(given, catalogue)
    done, bare = [], 0
    new.make()
    with closing(Claims(new.root / "claims")) as claims:
        claims.enter(new.sweep)
        for result in sorted(finished, key=lambda result: _place(result.trial)):
            used = {plugin.name: plugin.origin for plugin in own}
            used |= result.provenance.get("plugins", {})
            result = replace(result, provenance={**result.provenance, "plugins": used})
            metrics = catalogue.metrics(asked) if asked else _metrics(result, catalogue)
            stored = result.trial.id in mapped
            bare += not stored and any(metric.needs in ("map", "regions") for metric in metrics)
            here = images.of(result.trial) if stored else None
            done.append(rescore(result, old, here, metrics, settings))
            new.write(done[-1])
    if bare:
        options.tell(
            f"{bare} of {counted(len(done), 'trial')} stored no maps, so their pixel metrics are "
            "left out; run them with --keep-maps"
        )
    print(f"{counted(len(done), 'trial')} rescored; results in {new.root}\n")
    print(
        leaderboard.render(
            done,
            asked=asked,
            store=new.root,
            width=terminal_width(),
            color=sys.stdout.isatty(),
        )
    )
    return 0


def _metrics(result: TrialResult, catalogue: Catalogue) -> list[Metric]:
    """The default metrics of the plugins that a result records, and those that it was run with."""
    offered = catalogue.brought("metric", result.provenance["plugins"])
    return [metric for metric in offered if metric.default or metric.name in _run_with(result)]


def _run_with(result: TrialResult) -> set[str]:
    """The names of the metrics that a result was run with."""
    return {metric.partition("@")[0] for metric in result.trial.metrics}


def _tell_unknown(results: Sequence[TrialResult], catalogue: Catalogue) -> None:
    """Print the metrics of the results that no plugin provides here."""
    names = set().union(*map(_run_with, results)) - catalogue.offers["metric"].keys()
    if names:
        options.tell(
            f"left out: {', '.join(sorted(names))}, since the plugin is not installed; name its "
            "file with --plugins"
        )


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
