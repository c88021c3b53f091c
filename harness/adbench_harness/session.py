"""A session: plan what a suite asks for, run what is not stored yet, store each result at once.

Nothing is printed; a ``Listener`` gets the reports.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from adbench_harness.errors import ContractError, Interrupted, UserError, interrupted, said
from adbench_harness.listener import Listener
from adbench_harness.results.claims import Claims
from adbench_harness.wording import counted

if TYPE_CHECKING:
    from types import FrameType

    from adbench_harness.engines import Engine
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plan import Plan
    from adbench_harness.planning.plugins import Catalogue
    from adbench_harness.planning.suite import Suite
    from adbench_harness.results.fitted import Fitted
    from adbench_harness.results.store import Store, TrialResult
    from adbench_harness.results.trial import Bundle
    from adbench_harness.running.predicting import Predictor

_WAIT = 1.0
"""Seconds until this run looks again at what other runs have done."""


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
    suite: Suite,
    locations: Locations,
    *,
    out: str | Path,
    device: str = "auto",
    deterministic: bool = False,
) -> Prepared:
    """Load a suite's plugins, and plan its trials.

    ``out`` is the folder of results. Nothing is run and no result is stored. Missing data sets and
    weights are downloaded if ``locations.fetch`` allows it. Raises UserError.
    """
    from adbench_harness.planning import plugins, witness

    # Mistakes are reported before anything heavy is imported.
    plugins.check_names(suite.plugins)
    import torch  # noqa: F401  # before plugins, which may change how it computes

    from adbench_harness.planning import plan
    from adbench_harness.results.store import Store

    store = Store(Path(out))
    with _interrupts() as seen, witness.no_silent_exit():
        catalogue = plugins.sound(suite.plugins)
        locations.check(catalogue.offers["dataset"])
        _check_device(device)
        made = plan.make(
            suite,
            catalogue,
            locations,
            device=device,
            deterministic=deterministic,
            checkpoints=str(store.root / "checkpoints"),
        )
        if seen:  # an author's code caught it
            raise Interrupted(seen[0])
    return Prepared(suite, catalogue, store, made)


def perform(
    prepared: Prepared, *, engine: Engine | None = None, progress: Listener | None = None
) -> list[TrialResult]:
    """Run what is not stored yet, and return the plan's results in its order, read from the store.

    Each result is stored as it arrives, then observers are called. A trial that failed while it was
    planned, or a broken plugin, does not stop the others. ``engine`` runs the bundles, by default
    in this process. If another run uses the same store, the two share the trials, and this one
    returns when all are done. Raises UserError if the store cannot be written to, and Interrupted
    after SIGINT or SIGTERM; the stored results stay, and the next call continues from there.
    """
    if engine is None:
        from adbench_harness.engines.inline import Inline

        engine = Inline()
    from adbench_harness.running.bundle import refused

    progress = progress or Listener()
    plan, store, catalogue = prepared.plan, prepared.store, prepared.catalogue
    store.make()
    for note in (*catalogue.broken.values(), *plan.notes):
        progress.note(note)
    with _interrupts() as seen, _Work(prepared, progress) as work:
        for trial in plan.trials:
            if trial.id in work.damaged:
                progress.note(f"{work.damaged[trial.id]}; now it runs again")
        if prepared.suite.keep_models and (bare := work.without_model()):
            progress.note(
                f"{counted(bare, 'finished trial')} kept no fitted model; run into a new folder "
                "(--out) to keep it"
            )
        broken, bundles = plan.broken(work.finished), work.left()
        todo = len(broken) + sum(len(bundle.trials) for bundle in bundles)
        progress.started(len(plan.trials) - todo, len(plan.trials), store.root)
        progress.planned(bundles)
        start = time.monotonic()
        ran = {
            "run": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "engine": getattr(engine, "__name__", type(engine).__name__).lower(),
        }
        with closing(work.run(engine)) as run:
            refusals = (refused(trial, plan.failed[trial.id], catalogue) for trial in broken)
            for result in itertools.chain(refusals, run):
                result = replace(result, provenance={**result.provenance, **ran})
                result = _stored(store, result)
                work.release(result.trial.id)
                progress.trial(result)
                _tell_observers(catalogue, result, progress)
                if seen:
                    raise Interrupted(seen[0])
        progress.finished(time.monotonic() - start)
    return [store.result(trial.id) for trial in plan.trials]


def repeat(
    stored: TrialResult,
    locations: Locations,
    *,
    plugins: Sequence[str] = (),
    device: str | None = None,
    deterministic: bool = False,
    progress: Listener | None = None,
) -> TrialResult:
    """Run one stored trial again, from its own record, and return the new result.

    It runs in a worker process with as many threads as it had, and nothing is written. ``plugins``
    replace those that the record names; ``device`` is by default of the same kind. Raises UserError
    if the record lacks something, or if what it was measured on is not here.
    """
    from adbench_harness.planning import again, witness
    from adbench_harness.planning import plugins as plugins_

    trial = stored.trial
    names, threads = again.plugins(stored, plugins), again.threads(stored)
    plugins_.check_names(names)
    import torch  # noqa: F401  # before plugins, which may change how it computes

    from adbench_harness.engines.local import Local
    from adbench_harness.planning import plan
    from adbench_harness.results.store import Failure
    from adbench_harness.running.bundle import refused

    device = device or ("cpu" if stored.provenance.get("device") == "cpu" else "auto")
    deterministic = deterministic or bool(stored.provenance.get("deterministic"))
    progress = progress or Listener()
    with _interrupts(), witness.no_silent_exit():
        catalogue = _loaded(names, locations, device)
        suite = again.suite(trial, names)
        made = plan.make(suite, catalogue, locations, device=device, deterministic=deterministic)
        found = again.bundle(trial, made)
    if isinstance(found, Failure):
        return refused(trial, found, catalogue)
    (result,) = Local(1, threads)([found], lambda bundle: bundle, progress.stage)
    return result


def predictor(
    stored: TrialResult,
    kept: Fitted | None,
    locations: Locations,
    *,
    plugins: Sequence[str] = (),
    device: str = "auto",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Predictor:
    """The pipeline of a stored trial, to score new images.

    It is loaded from what the run ``kept`` or, if that is None, fitted again from the trial's own
    record, in this process and with as many threads as it had. ``plugins`` replace those that the
    record names; ``progress`` takes (stage, done, total). Raises UserError if the record lacks
    something, if what it was fitted on is not here, or if its pipeline cannot score new images.
    """
    from adbench_harness.planning import again, witness
    from adbench_harness.planning import plugins as plugins_

    trial = stored.trial
    names = again.plugins(stored, plugins)
    plugins_.check_names(names)
    import torch

    from adbench_harness.planning import plan
    from adbench_harness.results.store import Failure
    from adbench_harness.running import bundle
    from adbench_harness.running.predicting import Predictor
    from adbench_harness.running.watch import Watch

    with _interrupts(), witness.no_silent_exit():
        catalogue = _loaded(names, locations, device)
        suite = again.suite(trial, names)
        if kept is None:
            threads = torch.get_num_threads()
            made = plan.make(suite, catalogue, locations, device=device)
            found = again.bundle(trial, made)
            if isinstance(found, Failure):
                raise UserError(f"{trial.title} cannot be fitted again: {found.message}")
            torch.set_num_threads(again.threads(stored))
            try:
                kept = bundle.fit_bundle(found, Watch(stage=progress))
            finally:
                torch.set_num_threads(threads)
            (trial,) = found.trials
        else:
            trial = again.located(trial, suite, catalogue, locations)
        try:
            return Predictor(trial, kept, catalogue, bundle.device(device))
        except (UserError, ContractError):
            raise
        except Exception as error:  # the file may be damaged, or made by anybody
            raise UserError(
                f"the fitted model of {trial.title} cannot be restored ({said(error)}); delete "
                f"{trial.id}.safetensors, and it is fitted again"
            ) from error


def _loaded(names: Sequence[str], locations: Locations, device: str) -> Catalogue:
    """The plugins of a record; raises UserError for a data set or device that there is not."""
    from adbench_harness.planning import plugins

    catalogue = plugins.load(names)
    locations.check(catalogue.offers["dataset"])
    _check_device(device)
    return catalogue


class _Work:
    """The trials of a plan that are not stored yet, shared with other runs into the same store."""

    def __init__(self, prepared: Prepared, progress: Listener) -> None:
        self._prepared = prepared
        self._progress = progress
        self._store = prepared.store
        self._mine: set[str] = set()

    def __enter__(self) -> Self:
        self._claims = Claims(self._store.root / "claims")
        self._claims.enter(self._store.sweep)
        self._before = self._store.stamps()
        found = self._store.survey()
        self.finished, self._deadly = found.finished, found.deadly
        self.damaged = found.damaged
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.close()

    def without_model(self) -> int:
        """How many of the plan's finished trials have no fitted model."""
        done = (trial for trial in self._prepared.plan.trials if trial.id in self.finished)
        return sum(not self._store.has_fitted(trial) for trial in done)

    def left(self) -> list[Bundle]:
        """Bundles of the trials that nobody has done yet; those that ended their process last."""
        now = self._store.stamps()
        done = self.finished | {id_ for id_, at in now.items() if at != self._before.get(id_)}
        left = self._prepared.plan.left(done)
        return [
            replace(bundle, trials=trials, suspect=suspect)
            for suspect in (False, True)
            for bundle in left
            if (trials := tuple(t for t in bundle.trials if (t.id in self._deadly) is suspect))
        ]

    def run(self, engine: Engine) -> Generator[TrialResult]:
        """Results until every trial is done, here or by another run."""
        while left := self.left():
            yield from engine(left, self._begin, self._progress.stage)
            if self._mine:
                raise RuntimeError(f"the engine returned no result of {', '.join(self._mine)}")
            if self.left():
                time.sleep(_WAIT)

    def _begin(self, bundle: Bundle) -> Bundle | None:
        """The trials of a bundle that no other run has done or claimed; they are claimed."""
        begun = tuple(trial for trial in bundle.trials if self._take(trial.id))
        if not begun:
            return None
        self._progress.bundle(bundle.title)
        return replace(bundle, trials=begun)

    def _take(self, trial_id: str) -> bool:
        if not self._claims.take(trial_id):
            return False
        if self._store.stamp(trial_id) != self._before.get(trial_id):  # done in the meantime
            self._claims.release(trial_id)
            return False
        self._mine.add(trial_id)
        return True

    def release(self, trial_id: str) -> None:
        """Let others see that a trial is done."""
        if trial_id in self._mine:
            self._mine.remove(trial_id)
            self._claims.release(trial_id)


def _stored(store: Store, result: TrialResult) -> TrialResult:
    """Store a result or, if it could not be read again, a failure that says why."""
    from adbench_harness.results.reading import Damaged

    try:
        store.write(result)
        store.result(result.trial.id)
        store.images(result.trial)
    except UserError as error:
        if not isinstance(error, Damaged):
            raise
        result = result.refused("store", error)
        store.write(result)
    except Exception as error:  # such as of json
        result = result.refused("store", error)
        store.write(result)
    return result


def _tell_observers(catalogue: Catalogue, result: TrialResult, progress: Listener) -> None:
    """Call the observers; if one raises an error, it is reported, and the run continues."""
    from adbench_harness.planning import witness

    for observer in catalogue.manager.hook.adbench_trial_finished.get_hookimpls():
        owner = catalogue.plugins[observer.plugin_name].title
        try:
            with witness.during(f"adbench_trial_finished of {owner}"):
                observer.function(*[result][: len(observer.argnames)])
        except BaseException as error:
            if interrupted(error):
                raise
            progress.observer_failed(observer.plugin_name, error)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Raise Interrupted for SIGINT and SIGTERM.

    They are also recorded, since Python drops one that comes while an object is being finalised.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise Interrupted(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
