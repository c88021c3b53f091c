"""``adbench run``: plan, run what is not done yet, show the table."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import fetching, options
from adbench_harness.errors import UserError, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from adbench_harness.planning.plan import Plan
    from adbench_harness.planning.plugins import Catalogue
    from adbench_harness.results.store import Store, TrialResult

SUMMARY = "Run every combination that fits together and show the table."
_AXES = ("datasets", "preprocessors", "augmenters", "models", "scorers")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag says what a suite file's key of the same name says."""
    parser.add_argument("suite", nargs="?", help="suite file (TOML); flags win over its keys")
    options.add_plugins(parser)
    parser.add_argument("--recipe", metavar="NAME", help="a paper's setting by its name")
    axes = parser.add_argument_group(
        "axes", "comma = alternatives, colon = parameters, plus = chain: none,mean:size=11"
    )
    for axis in _AXES:
        axes.add_argument(f"--{axis}", metavar="LIST")
    axes.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="COMPONENT.PARAM=VALUE",
        help="a parameter; a list makes a grid",
    )
    axes.add_argument("--metrics", metavar="NAMES", help="metrics (default: all that apply)")
    axes.add_argument("--seeds", metavar="N|LIST", help="7 is the seeds 0 to 6; or 3,5")
    axes.add_argument("--split-seeds", metavar="N|LIST", help="seeds of splits that are drawn")
    axes.add_argument(
        "--protocol",
        choices=("unsupervised", "classification", "zero-shot"),
        help="what a model learns from: normal images, labeled defects too, or nothing",
    )
    axes.add_argument(
        "--shots", metavar="N|LIST", help="learn from so many normal images: 4, or 1,2,4"
    )
    axes.add_argument("--shot-seeds", metavar="N|LIST", help="seeds that draw the shots")
    axes.add_argument(
        "--validation", type=float, metavar="SHARE", help="hold out this share of the normal images"
    )
    axes.add_argument(
        "--unified",
        action="store_const",
        const=True,
        help="fit one model to all categories of a data set",
    )
    axes.add_argument("--backbone", metavar="NAME", help="for every model that has one")
    axes.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="of the frozen backbone's features"
    )
    axes.add_argument(
        "--eval-size", type=int, metavar="PX", help="longer side where maps meet masks"
    )
    axes.add_argument("--eval-border", choices=("full", "crop"), help="what a crop cut away")
    options.add_places(parser)
    parser.add_argument("--out", default=options.RESULTS, metavar="DIR", help="folder for results")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--fetch", action="store_true", help="download what is missing")
    fetching.add_license(parser)
    parser.add_argument("--keep-maps", action="store_true", help="store the anomaly maps")
    parser.add_argument("--explain", action="store_true", help="print the plan and stop")
    parser.add_argument("--per-category", action="store_true", help="a row a category too")


def handle(given: argparse.Namespace) -> int:
    """0, or 1 if a trial failed."""
    content = _content(given)
    if not content.get("plugins"):
        raise UserError(
            "which plugins? give --plugins NAMES (adbench list shows them) or a suite file"
        )
    drawn, store, catalogue = prepare(
        content,
        options.places(given),
        out=given.out,
        device=given.device,
        fetch=given.fetch,
        accepted=given.accept_license,
    )
    if given.explain:
        _explain(drawn)
        return 0
    found = perform(drawn, store, catalogue)
    return _show(found, store, per_category=given.per_category)


def prepare(
    content: Mapping[str, Any],
    where: Mapping[str, Any],
    *,
    out: str | Path,
    device: str,
    fetch: bool,
    accepted: bool,
    source: str = "command line",
) -> tuple[Plan, Store, Catalogue]:
    """The plan of a suite's ``content``, the store that it fills, and the loaded plugins.

    ``fetch`` allows downloads, of what is ``accepted``: the licenses.
    """
    from adbench_harness.planning import plugins, suite

    asked = suite.validate(content, source)
    plugins.check_names(asked.plugins)
    from adbench_harness.planning import pipelines, plan
    from adbench_harness.results.store import Store

    catalogue = plugins.load(asked.plugins)
    store = Store(Path(out))

    def get(kind: str, component: Any) -> Path:
        fetched = fetching.datasets if kind == "data" else fetching.weights
        return fetched([component], where[kind], accepted)[0]

    places = pipelines.Places(**where, fetch=get if fetch else None)
    drawn = plan.make(
        asked,
        catalogue,
        places,
        device=_device(device),
        finished=store.finished(),
        checkpoints=str(store.root / "checkpoints"),
    )
    return drawn, store, catalogue


def perform(drawn: Plan, store: Store, catalogue: Catalogue) -> list[TrialResult]:
    """Run what is not in the store yet, with progress; the results in the plan's order."""
    _make(store.trials)
    for note in drawn.notes:
        print(note, file=sys.stderr)
    _run(drawn, store, catalogue)
    stored = {result.trial.id: result for result in store.read()}
    return [stored[id_] for id_ in dict.fromkeys(trial.id for trial in drawn.trials)]


def _content(given: argparse.Namespace) -> dict[str, Any]:
    """The suite file's keys with the flags laid over them."""
    from adbench_harness.planning import grammar

    content = {} if given.suite is None else read(given.suite)
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
    if given.keep_maps:
        content["keep_maps"] = True
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


def read(path: str | Path) -> dict[str, Any]:
    """A suite file's keys, checked by themselves: its mistakes are told apart from a flag's."""
    from adbench_harness.planning import suite

    content = suite.read(Path(path))
    suite.validate({"plugins": ["any"], **content}, str(path))
    return content


def _seeds(text: str, key: str) -> int | list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"--{key.replace('_', '-')} {text}: write a count (7) or a list (3,5)"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _device(name: str) -> str:
    import torch

    try:
        wanted = torch.device("cpu" if name == "auto" else name)
    except RuntimeError:
        raise UserError(f"unknown device '{name}'; write auto, cpu, cuda or cuda:N") from None
    if wanted.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' is not supported; write auto, cpu, cuda or cuda:N")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device '{name}' is not here ({torch.cuda.device_count()} GPUs found); "
            "write --device cpu, or see 'adbench doctor'"
        )
    return name


def _make(folder: Path) -> None:
    """Refuse a place that cannot be written to before anything is run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out: '{folder}' cannot be made ({error.strerror}); name another folder"
        ) from None


def _explain(drawn: Plan) -> None:
    for note in drawn.notes:
        print(note)
    todo = sum(len(bundle.trials) for bundle in drawn.bundles)
    print(f"{len(drawn.trials)} trials, {todo} to do, in {len(drawn.bundles)} bundles")
    for bundle in drawn.bundles:
        print(f"\n{bundle.title}")
        for trial in bundle.trials:
            chain = [trial.model.label, trial.scorer.label, f"seed {trial.seed}"]
            if trial.augmenter:
                chain.insert(0, trial.augmenter.label)
            print(f"  {trial.id}  {' · '.join(chain)}  [{trial.backbone}]")
    if drawn.left_out:
        print("\nleft out:")
        for reason in drawn.left_out:
            print(f"  {reason}")


def _run(drawn: Plan, store: Store, catalogue: Catalogue) -> None:
    from adbench_harness.cli.progress import Display
    from adbench_harness.engines import local

    total = sum(len(bundle.trials) for bundle in drawn.bundles)
    if len(drawn.trials) > total:
        print(
            f"{len(drawn.trials) - total} of {len(drawn.trials)} trials are in {store.root} already"
        )
    start = time.monotonic()
    with Display(total) as display, _interrupts() as seen:
        for bundle in drawn.bundles:
            display.bundle(bundle.title)
            for result in local.run([bundle], display.stage):
                store.write(result)
                display.trial(result)
                _notify(catalogue, result)
                if seen:
                    raise KeyboardInterrupt
    if total:
        print(f"{total} trials in {time.monotonic() - start:.0f} s; results in {store.root}\n")


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The interrupts so far: Python drops one that comes while an object is being finalised."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _notify(catalogue: Catalogue, result: TrialResult) -> None:
    """Observers look on; what they raise is said and costs nothing."""
    for observer in catalogue.manager.hook.adbench_trial_finished.get_hookimpls():
        try:
            observer.function(*[result][: len(observer.argnames)])
        except Exception as error:
            print(f"adbench: observer {observer.plugin_name}: {said(error)}", file=sys.stderr)


def _show(found: list[TrialResult], store: Store, *, per_category: bool) -> int:
    from adbench_harness import leaderboard

    for detailed in (False, True) if per_category else (False,):
        print(
            leaderboard.render(
                found,
                per_category=detailed,
                store=store.root,
                width=shutil.get_terminal_size((100, 24)).columns,
                color=sys.stdout.isatty(),
            )
        )
    return int(any(result.failures for result in found))
