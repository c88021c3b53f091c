"""A session: plan what a suite asks for, run what is not stored yet, store each result at once.

Nothing is printed; a ``Listener`` gets the reports.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import UserError
from adbench_harness.listener import Listener

if TYPE_CHECKING:
    from types import FrameType

    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plan import Plan
    from adbench_harness.planning.plugins import Catalogue
    from adbench_harness.planning.suite import Suite
    from adbench_harness.results.store import Store, TrialResult
    from adbench_harness.results.trial import Bundle

Engine = Callable[[Iterable["Bundle"], Callable[[str, int, int], None]], Iterable["TrialResult"]]
"""Runs bundles, and yields each trial's result as soon as it is ready. A bundle is taken from the
iterable when it starts. The callable takes (stage, done, total)."""


@dataclass(frozen=True)
class Prepared:
    """A checked suite, the loaded plugins, the store that it fills, and its whole plan."""

    suite: Suite
    catalogue: Catalogue
    store: Store
    plan: Plan

    def left(self) -> tuple[Bundle, ...]:
        """The bundles of the trials for which the store has no successful result."""
        return self.plan.left(self.store.finished())


def prepare(
    content: Mapping[str, Any],
    locations: Locations,
    *,
    out: str | Path,
    device: str = "auto",
    source: str,
) -> Prepared:
    """Check a suite's ``content``, load its plugins, and plan its trials.

    ``out`` is the folder of results. Messages name ``source`` as the origin of mistakes in
    ``content``. Nothing is run and no result is stored. Missing data sets and weights are
    downloaded if ``locations.fetch`` allows it. Raises UserError.
    """
    # Mistakes are reported before anything heavy is imported.
    from adbench_harness.planning import plugins, suite

    checked = suite.validate(content, source)
    plugins.check_names(checked.plugins)
    from adbench_harness.planning import plan
    from adbench_harness.results.store import Store

    catalogue = plugins.sound(checked.plugins)
    locations.check(catalogue.offers["dataset"])
    _check_device(device)
    store = Store(Path(out))
    made = plan.make(
        checked,
        catalogue,
        locations,
        device=device,
        checkpoints=str(store.root / "checkpoints"),
    )
    return Prepared(checked, catalogue, store, made)


def perform(
    prepared: Prepared, *, engine: Engine | None = None, progress: Listener | None = None
) -> list[TrialResult]:
    """Run what is not stored yet, and return the plan's results in its order, read from the store.

    Each result is stored as it arrives, then observers are called. A trial that failed while it was
    planned, or a broken plugin, does not stop the others. ``engine`` runs the bundles, by default
    in this process. Raises UserError, before anything is run, if the store cannot be written to.
    After a KeyboardInterrupt the stored results stay, and the next call continues from there.
    """
    if engine is None:
        from adbench_harness.engines import local

        engine = local.run
    from adbench_harness.running.bundle import refused

    progress = progress or Listener()
    plan, store, catalogue = prepared.plan, prepared.store, prepared.catalogue
    store.make()
    for note in (*catalogue.broken.values(), *plan.notes):
        progress.note(note)
    finished = store.finished()
    broken, bundles = plan.broken(finished), plan.left(finished)
    todo = len(broken) + sum(len(bundle.trials) for bundle in bundles)
    progress.started(len(plan.trials) - todo, len(plan.trials), store.root)
    progress.planned(bundles)
    start = time.monotonic()
    with _interrupts() as seen:
        for result in itertools.chain(
            (refused(trial, plan.failed[trial.id], catalogue) for trial in broken),
            engine(_announced(bundles, progress), progress.stage),
        ):
            store.write(result)
            progress.trial(result)
            _tell_observers(catalogue, result, progress)
            if seen:
                raise KeyboardInterrupt
    progress.finished(time.monotonic() - start)
    stored = {result.trial.id: result for result in store.read()}
    return [stored[trial.id] for trial in plan.trials]


def _announced(bundles: Iterable[Bundle], progress: Listener) -> Iterator[Bundle]:
    for bundle in bundles:
        progress.bundle(bundle.title)
        yield bundle


def _tell_observers(catalogue: Catalogue, result: TrialResult, progress: Listener) -> None:
    """Call the observers; if one raises an error, it is reported, and the run continues."""
    for observer in catalogue.manager.hook.adbench_trial_finished.get_hookimpls():
        try:
            observer.function(*[result][: len(observer.argnames)])
        except Exception as error:
            progress.observer_failed(observer.plugin_name, error)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Record interrupts: Python drops one that comes while an object is being finalised."""
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


def _check_device(name: str) -> None:
    import torch

    try:
        wanted = torch.device("cpu" if name == "auto" else name)
    except RuntimeError:
        raise UserError(f"unknown device '{name}'; write auto, cpu, cuda or cuda:N") from None
    if wanted.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' is not supported; write auto, cpu, cuda or cuda:N")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device '{name}' is not available ({torch.cuda.device_count()} GPUs found); "
            "write --device cpu, or see 'adbench doctor'"
        )
