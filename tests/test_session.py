"""A session stores what arrives, goes on after an interrupt, and says nothing by itself."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adbench_harness import session
from adbench_harness.engines.inline import Inline
from adbench_harness.errors import Interrupted, UserError
from adbench_harness.listener import Listener
from adbench_harness.planning import suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import Heading, Store, TrialResult
from adbench_harness.results.trial import Bundle

if TYPE_CHECKING:
    from adbench_harness.engines import Begin, Stage


class Recorder(Listener):
    """Writes down what it is told; ``trial`` also what the store holds at that moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[object, ...]] = []
        self.stages: set[str] = set()

    def note(self, text: str) -> None:
        self.told.append(("note", text))

    def started(self, stored: int, total: int, folder: Path) -> None:
        self.told.append(("started", stored, total, folder))

    def bundle(self, title: str) -> None:
        self.told.append(("bundle", title))

    def stage(self, name: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.stages.add(name)

    def trial(self, result: TrialResult) -> None:
        stored = Store(self.folder).finished()
        self.told.append(("trial", result.trial.id in stored, len(stored)))

    def observer_failed(self, name: str, error: BaseException) -> None:
        self.told.append(("observer", name, str(error)))

    def finished(self, seconds: float) -> None:
        self.told.append(("finished", seconds > 0))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def prepare(toys: str, out: Path) -> Callable[..., session.Prepared]:
    """Prepares four trials of the toys in two bundles; keywords are the suite's keys."""

    def made(*plugins: str, device: str = "cpu", **keys: object) -> session.Prepared:
        content = {
            "plugins": [toys, *plugins],
            "models": "toy-mean",
            "scorers": "toy-map",
            "preprocessors": "none",
            "seeds": 2,
            **keys,
        }
        return session.prepare(suite.validate(content, "test"), Locations(), out=out, device=device)

    return made


def stored(out: Path) -> dict[str, int]:
    """When each stored result was written."""
    return {path.stem: path.stat().st_mtime_ns for path in (out / "trials").glob("*.json")}


Prepare = Callable[..., session.Prepared]


# ---------------------------------------------------------------- prepare


def test_what_is_prepared(prepare: Prepare, toys: str, out: Path) -> None:
    prepared = prepare()
    assert prepared.suite.seeds == [0, 1]
    assert prepared.catalogue.get("model", "toy-mean").name == "toy-mean"
    assert prepared.store.root == out
    assert len(prepared.plan.trials) == 4
    assert prepared.left() == prepared.plan.bundles
    assert not out.exists()


def test_an_unknown_plugin_is_refused(prepare: Prepare) -> None:
    with pytest.raises(UserError, match=r"^unknown plugin 'nobody'"):
        prepare("nobody")


@pytest.mark.parametrize(
    ("device", "message"),
    [("tpu", "unknown device"), ("meta", "is not supported"), ("cuda:97", "is not available")],
)
def test_a_device_that_is_not_here_is_refused(
    prepare: Prepare, device: str, message: str, out: Path
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(device=device)


# ---------------------------------------------------------------- perform


def test_each_result_is_stored_when_it_arrives(prepare: Prepare, out: Path) -> None:
    recorder = Recorder(out)
    prepared = prepare()
    results = session.perform(prepared, progress=recorder)
    assert recorder.told == [
        ("started", 0, 4, out),
        ("bundle", "toy-data/dark · none"),
        ("trial", True, 1),
        ("trial", True, 2),
        ("bundle", "toy-data/light · none"),
        ("trial", True, 3),
        ("trial", True, 4),
        ("finished", True),
    ]
    assert recorder.stages == {"images", "score"}
    assert [result.trial.id for result in results] == [trial.id for trial in prepared.plan.trials]
    assert len({result.provenance["run"] for result in results}) == 1
    assert {result.provenance["engine"] for result in results} == {"inline"}


def test_results_are_in_the_plans_order_whatever_the_engines(prepare: Prepare, out: Path) -> None:
    prepared = prepare()

    def backwards(bundles: Sequence[Bundle], begin: Begin, stage: Stage) -> Iterator[TrialResult]:
        for bundle in reversed(bundles):
            yield from reversed(list(Inline()([bundle], begin, stage)))

    recorder = Recorder(out)
    results = session.perform(prepared, engine=backwards, progress=recorder)
    assert [result.trial.id for result in results] == [trial.id for trial in prepared.plan.trials]
    assert [told[0] for told in recorder.told[1:5]] == ["bundle", "trial", "trial", "bundle"]


def test_the_engine_that_is_passed_in_runs_the_bundles(prepare: Prepare, out: Path) -> None:
    asked: list[Bundle] = []

    def engine(bundles: Sequence[Bundle], begin: Begin, stage: Stage) -> Iterator[TrialResult]:
        for bundle in filter(None, map(begin, bundles)):
            asked.append(bundle)
            stage("thinking", 1, 1)
            yield from (TrialResult(trial, "ok", {"n": 0.5}) for trial in bundle.trials)

    prepared, recorder = prepare(), Recorder(out)
    results = session.perform(prepared, engine=engine, progress=recorder)
    assert tuple(asked) == prepared.plan.bundles
    assert [dict(result.metrics) for result in results] == [{"n": 0.5}] * 4
    assert recorder.stages == {"thinking"}


def test_only_what_is_not_stored_is_run(prepare: Prepare, out: Path) -> None:
    session.perform(prepare(seeds=1))
    before = stored(out)
    recorder = Recorder(out)
    results = session.perform(prepare(), progress=recorder)
    assert recorder.told[0] == ("started", 2, 4, out)
    assert before.items() <= stored(out).items()
    assert len(results) == 4
    recorder = Recorder(out)
    session.perform(prepare(), progress=recorder)
    assert [told[0] for told in recorder.told] == ["started", "finished"]


def test_a_failed_trial_is_a_result_and_is_tried_again(prepare: Prepare, out: Path) -> None:
    prepared = prepare(models="toy-mean,toy-raises", seeds=1)
    results = session.perform(prepared)
    assert [result.status for result in results] == ["ok", "failed"] * 2
    assert [trial.model.name for bundle in prepared.left() for trial in bundle.trials] == [
        "toy-raises",
        "toy-raises",
    ]


def test_notes_come_first(prepare: Prepare, toys: str, out: Path) -> None:
    prepared = session.prepare(
        suite.validate({"plugins": ["patchcore"], "datasets": "mini/brick"}, "test"),
        Locations(),
        out=out,
    )
    recorder = Recorder(out)

    def engine(bundles: Sequence[Bundle], begin: Begin, stage: Stage) -> Iterator[TrialResult]:
        for bundle in filter(None, map(begin, bundles)):
            yield from (TrialResult(trial, "ok") for trial in bundle.trials)

    session.perform(prepared, engine=engine, progress=recorder)
    kind, text = recorder.told[0]
    assert kind == "note"
    assert str(text).startswith(
        "backbone: efficientnet_lite0, since the weights of patchcore's own"
    )
    assert recorder.told[1][0] == "started"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"curves": {"file": np.zeros(2)}}, "TypeError"),
        (
            {"metrics": {"image_auroc": 1.5}, "columns": {"image_auroc": Heading("AUROC")}},
            "'image_auroc' is 1.5",
        ),
        ({"images": {"path": np.array([None])}}, "'defect' is missing|pickle"),
    ],
)
def test_what_cannot_be_stored_is_a_failure_and_the_others_go_on(
    prepare: Prepare, out: Path, changes: Any, said: str
) -> None:
    def engine(bundles: Sequence[Bundle], begin: Begin, stage: Stage) -> Iterator[TrialResult]:
        for bundle in filter(None, map(begin, bundles)):
            for number, trial in enumerate(bundle.trials):
                yield TrialResult(trial, "ok", **({} if number else changes))

    prepared = prepare(datasets="toy-data/dark")
    recorder = Recorder(out)
    broken, sound = session.perform(prepared, engine=engine, progress=recorder)
    assert sound.status == "ok"
    assert (broken.status, broken.metrics) == ("failed", {})
    (failure,) = broken.failures
    assert failure.stage == "store"
    assert re.search(said, failure.message)
    assert recorder.told[-1][0] == "finished"


# ---------------------------------------------------------------- observers


def test_an_observer_that_raises_costs_nothing(
    prepare: Prepare, out: Path, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    def observer(name: str, body: str) -> str:
        return plugin_file(name, f"\n@hookimpl\ndef adbench_trial_finished(result):\n    {body}\n")

    seen = tmp_path / "seen"
    broken = observer("broken", "raise ConnectionError('tracker is down')")
    watching = observer("watching", f"open({str(seen)!r}, 'a').write(result.trial.id + '\\n')")
    recorder = Recorder(out)
    results = session.perform(prepare(watching, broken), progress=recorder)
    assert [result.status for result in results] == ["ok"] * 4
    failures = [told for told in recorder.told if told[0] == "observer"]
    assert failures == [("observer", "broken", "tracker is down")] * 4
    assert set(seen.read_text().split()) == {result.trial.id for result in results}
    assert recorder.told[-1][0] == "finished"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise SystemExit(0)", "0"),
        ("raise KeyboardInterrupt", ""),
        ("raise GeneratorExit", ""),
        ("import os; os._exit(0)", "os._exit(0) was called"),
    ],
)
def test_an_observer_cannot_end_the_run(
    prepare: Prepare, out: Path, plugin_file: Callable[[str, str], str], body: str, said: str
) -> None:
    path = plugin_file("o", f"@hookimpl\ndef adbench_trial_finished(result):\n    {body}\n")
    recorder = Recorder(out)
    results = session.perform(prepare(path), progress=recorder)
    assert [result.status for result in results] == ["ok"] * 4
    assert [told for told in recorder.told if told[0] == "observer"] == [
        ("observer", "o", said)
    ] * 4


def test_a_plugin_that_goes_elsewhere_takes_nobody_along(
    prepare: Prepare, plugin_file: Callable[[str, str], str], tmp_path: Path
) -> None:
    before = os.getcwd()
    hook = "@hookimpl\ndef adbench_trial_finished(result):\n    os.chdir('/')\n"
    prepared = prepare(plugin_file("gone", f"import os\nos.chdir('/')\n{hook}"))
    assert os.getcwd() == before
    session.perform(prepared)
    assert os.getcwd() == before


# ---------------------------------------------------------------- interrupts

RAISES = "raise KeyboardInterrupt"
IMPORTS = "import os, signal, time\n"
SIGNALS = f"{IMPORTS}os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(1)"
SWALLOWS = (
    f"{IMPORTS}try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(1)\n"
    "except BaseException:\n    pass\n"
)


def test_a_plugin_that_raises_an_interrupt_is_broken(
    prepare: Prepare, plugin_file: Callable[[str, str], str]
) -> None:
    path = plugin_file("bad", RAISES)
    prepared = prepare(path)
    assert "cannot be imported: KeyboardInterrupt" in prepared.catalogue.broken[path]
    assert len(session.perform(prepared)) == 4


@pytest.mark.parametrize(("body", "number"), [(SIGNALS, signal.SIGTERM), (SWALLOWS, signal.SIGINT)])
def test_an_interrupt_of_an_import_ends_the_run(
    prepare: Prepare, plugin_file: Callable[[str, str], str], body: str, number: int
) -> None:
    path = plugin_file("slow", body)
    with pytest.raises(Interrupted) as error:
        prepare(path)
    assert error.value.number == number
    if body is SIGNALS:
        assert error.value.what == f"the import of plugin 'slow' of {path}"


class Interrupting(Listener):
    """Interrupts the process when it hears of the second trial."""

    def __init__(self) -> None:
        self.heard = 0
        self.ended = False

    def trial(self, result: TrialResult) -> None:
        self.heard += 1
        if self.heard == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def finished(self, seconds: float) -> None:
        self.ended = True


class Finalised:
    """Interrupts where Python drops what a handler raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class Dropping(Interrupting):
    def trial(self, result: TrialResult) -> None:
        self.heard += 1
        if self.heard == 2:
            Finalised()


@pytest.mark.parametrize("listener", [Interrupting, Dropping])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_keeps_what_is_finished_and_a_second_perform_goes_on(
    prepare: Prepare, out: Path, listener: type[Interrupting]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    prepared, told = prepare(), listener()
    with pytest.raises(KeyboardInterrupt):
        session.perform(prepared, progress=told)
    assert signal.getsignal(signal.SIGINT) is before
    assert told.heard == 2
    assert not told.ended
    kept = stored(out)
    assert len(kept) == 2

    recorder = Recorder(out)
    results = session.perform(prepared, progress=recorder)
    assert recorder.told[0] == ("started", 2, 4, out)
    assert [result.trial.id for result in results] == [trial.id for trial in prepared.plan.trials]
    assert kept.items() <= stored(out).items()


def test_another_thread_may_perform_too(prepare: Prepare) -> None:
    found: list[TrialResult] = []
    thread = Thread(target=lambda: found.extend(session.perform(prepare(seeds=1))))
    thread.start()
    thread.join()
    assert [result.status for result in found] == ["ok", "ok"]


# ---------------------------------------------------------------- the store and the terminal


def refuses_to_run(bundles: Sequence[Bundle], begin: Begin, stage: Stage) -> Iterator[TrialResult]:
    raise AssertionError("something was run")
    yield


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(
    prepare: Prepare, out: Path
) -> None:
    out.write_text("")
    recorder = Recorder(out)
    with pytest.raises(UserError, match=r"--out: '.*trials' cannot be made"):
        session.perform(prepare(), engine=refuses_to_run, progress=recorder)
    assert recorder.told == []


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_runs(
    prepare: Prepare, out: Path
) -> None:
    out.mkdir()
    (out / "trials").symlink_to("/proc")  # where not even root may write
    with pytest.raises(UserError, match=r"--out: '.*trials' cannot be written to \("):
        session.perform(prepare(), engine=refuses_to_run)


def test_nothing_is_printed(
    prepare: Prepare, capfd: pytest.CaptureFixture[str], plugin_file: Callable[[str, str], str]
) -> None:
    broken = plugin_file(
        "broken", "\n@hookimpl\ndef adbench_trial_finished(result):\n    raise ValueError\n"
    )
    for _ in range(2):
        results = session.perform(prepare(broken, models="toy-mean,toy-raises"))
        assert {result.status for result in results} == {"ok", "failed"}
    assert capfd.readouterr() == ("", "")


def test_deterministic_algorithms_are_recorded_and_repeated(toys: str, out: Path) -> None:
    content = {"plugins": [toys], "datasets": "toy-data/dark", "models": "toy-mean"}
    content |= {"preprocessors": "none", "augmenters": "none", "scorers": "toy-map"}
    kinds = {}
    for deterministic in (False, True):
        prepared = session.prepare(
            suite.validate(content, "test"),
            Locations(),
            out=out / str(deterministic),
            device="cpu",
            deterministic=deterministic,
        )
        (kinds[deterministic],) = session.perform(prepared)
    assert kinds[False].trial.id == kinds[True].trial.id
    assert kinds[False].metrics["aupro"] == kinds[True].metrics["aupro"]
    for record, asked in ((kinds[True], False), (kinds[False], True), (kinds[False], False)):
        new = session.repeat(record, Locations(), plugins=[toys], deterministic=asked)
        recorded = record.provenance.get("deterministic", False)
        assert new.provenance.get("deterministic", False) == (recorded or asked)
        assert new.metrics["aupro"] == record.metrics["aupro"]
