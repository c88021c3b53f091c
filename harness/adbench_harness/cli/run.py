"""``adbench run``: plans the trials, runs those that are not stored, and shows the table."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from adbench_harness.results import FOLDER
from adbench_harness.wording import counted, terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adbench_harness.results.store import TrialResult
    from adbench_harness.session import Prepared

SUMMARY = "Run every compatible combination and show the table."
_AXES = ("datasets", "preprocessors", "augmenters", "models", "scorers")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Each flag sets the suite file's key of the same name."""
    parser.add_argument("suite", nargs="?", help="suite file (TOML); flags override its keys")
    options.add_plugins(parser)
    parser.add_argument("--recipe", metavar="NAME", help="a paper's settings, by name")
    axes = parser.add_argument_group(
        "axes",
        "a comma separates alternatives, a colon parameters, a plus steps: none,mean:size=11",
    )
    for axis in _AXES:
        axes.add_argument(f"--{axis}", metavar="LIST")
    axes.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="COMPONENT.PARAM=VALUE",
        help="value of a parameter; a list makes a grid",
    )
    axes.add_argument("--metrics", metavar="NAMES", help="metrics (default: all that apply)")
    axes.add_argument(
        "--seeds", metavar="N|LIST", help="number (7 means 0 to 6) or list (3,5) of seeds"
    )
    axes.add_argument(
        "--split-seeds", metavar="N|LIST", help="seeds of data sets whose split is drawn"
    )
    axes.add_argument(
        "--protocol",
        choices=("unsupervised", "classification", "zero-shot"),
        help="what a model learns from: normal images, also labelled defects, or no images",
    )
    axes.add_argument(
        "--shots", metavar="N|LIST", help="number of normal images to learn from: 4, or 1,2,4"
    )
    axes.add_argument("--shot-seeds", metavar="N|LIST", help="seeds with which the shots are drawn")
    axes.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help="fraction of the normal images to hold out",
    )
    axes.add_argument(
        "--unified",
        action="store_const",
        const=True,
        help="fit one model to all categories of a data set",
    )
    axes.add_argument("--backbone", metavar="NAME", help="backbone of every model that has one")
    axes.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="precision of the frozen backbone's features",
    )
    axes.add_argument(
        "--eval-size",
        type=int,
        metavar="PX",
        help="longer side at which maps are compared with masks",
    )
    axes.add_argument(
        "--eval-border",
        choices=("full", "crop"),
        help="score the border that a crop removed, or leave it out",
    )
    options.add_locations(parser)
    parser.add_argument("--out", default=FOLDER, metavar="DIR", help="folder for results")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    options.add_deterministic(parser)
    options.add_engine(parser)
    parser.add_argument("--fetch", action="store_true", help="download what is missing")
    options.add_license(parser)
    parser.add_argument("--keep-maps", action="store_true", help="store the anomaly maps")
    parser.add_argument(
        "--keep-models", action="store_true", help="store the fitted models, for 'adbench predict'"
    )
    parser.add_argument("--explain", action="store_true", help="show the plan and exit")
    parser.add_argument(
        "--per-category", action="store_true", help="also show one row per category"
    )


def handle(given: argparse.Namespace) -> int:
    """Returns 0, or 1 if a trial failed or a plugin is broken."""
    content = _content(given)
    if not content.get("plugins"):
        raise UserError(
            "no plugins are named; give --plugins NAMES ('adbench list' shows them) or a suite file"
        )
    from adbench_harness.planning import plugins, suite

    asked = suite.validate(content, "command line")
    plugins.check_names(asked.plugins)  # before anything heavy is started
    if not given.explain:
        from adbench_harness.engines import template

        template.start()  # it imports torch at the same time as this process
    from adbench_harness import session
    from adbench_harness.display import Display
    from adbench_harness.downloads.fetcher import Fetcher

    with Display() as display:
        fetcher = Fetcher(accepted=given.accept_license, listener=display)
        prepared = session.prepare(
            asked,
            options.locations(given, fetcher if given.fetch else None),
            out=given.out,
            device=given.device,
            deterministic=given.deterministic,
        )
        if given.explain:
            return _explain(prepared)
        if given.engine == "local":
            threading.Thread(target=_import_table, daemon=True).start()
        found = session.perform(prepared, engine=options.engine(given), progress=display)
    return _show(found, prepared, per_category=given.per_category)


def _import_table() -> None:
    """Import what the table needs while workers start, as far as the machine has nothing to do."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # on Linux, of a thread
    import_module("scipy.stats")
    import_module("adbench_harness.leaderboard")


def _content(given: argparse.Namespace) -> dict[str, Any]:
    """The keys of the suite file, overridden by the flags."""
    from adbench_harness.planning import grammar, suite

    content = {} if given.suite is None else suite.read(Path(given.suite))
    for key in (
        "plugins",
        "recipe",
        *_AXES,
        "metrics",
        "protocol",
        "backbone",
        "precision",
        "validation",
        "unified",
    ):
        if getattr(given, key) is not None:
            content[key] = getattr(given, key)
    for key in ("seeds", "split_seeds", "shots", "shot_seeds"):
        if getattr(given, key) is not None:
            content[key] = _seeds(getattr(given, key), key)
    for key in ("keep_maps", "keep_models"):
        if getattr(given, key):
            content[key] = True
    settings = {"size": given.eval_size, "border": given.eval_border}
    written = {key: value for key, value in settings.items() if value is not None}
    if written:
        content["evaluation"] = {**content.get("evaluation", {}), **written}
    for item in given.set:
        key, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write COMPONENT.PARAMETER=VALUE")
        values = [grammar.value(part) for part in grammar.split(text, ",")]
        content.setdefault("set", {})[key] = values if len(values) > 1 else values[0]
    return content


def _seeds(text: str, key: str) -> int | list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"--{key.replace('_', '-')} {text}: write a count (7) or a list (3,5)"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _explain(prepared: Prepared) -> int:
    plan, bundles = prepared.plan, prepared.left()
    for note in plan.notes:
        if not note.startswith("left out: "):  # they are listed below
            options.say(note, "  ")
    todo = sum(len(bundle.trials) for bundle in bundles)
    print(
        f"{counted(len(plan.trials), 'trial')}, {todo} to do, in {counted(len(bundles), 'bundle')}"
    )
    for bundle in bundles:
        print(f"\n{bundle.title}")
        for trial in bundle.trials:
            chain = [trial.model.label, trial.scorer.label, f"seed {trial.seed}"]
            if trial.augmenter:
                chain.insert(0, trial.augmenter.label)
            options.say(f"  {trial.id}  {' · '.join(chain)}  [{trial.backbone}]", " " * 20)
    if plan.left_out:
        print("\nleft out:")
        for reason in plan.left_out:
            options.say(f"  {reason}", "    ")
    if plan.failed:
        print("\nfailed:")
        for trial in plan.broken(()):
            options.say(f"  {trial.id}  {trial.title}: {plan.failed[trial.id].message}", " " * 20)
    return _broken(prepared, failed=bool(plan.failed))


def _show(found: Sequence[TrialResult], prepared: Prepared, *, per_category: bool) -> int:
    from adbench_harness import leaderboard

    for detailed in (False, True) if per_category else (False,):
        print(
            leaderboard.render(
                found,
                asked=prepared.suite.metrics or (),
                per_category=detailed,
                labels=prepared.suite.labels,
                store=prepared.store.root,
                width=terminal_width(),
                color=sys.stdout.isatty(),
            )
        )
    return _broken(prepared, failed=any(result.failures for result in found))


def _broken(prepared: Prepared, *, failed: bool) -> int:
    """Print the plugins that are left out; returns 1 if there are any, or if a trial ``failed``."""
    broken = prepared.catalogue.broken.values()
    for reason in broken:
        options.say(f"left out: {reason}", "  ")
    return int(failed or bool(broken))
