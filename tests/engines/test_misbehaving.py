"""What is recorded of each kind of bad plugin, and that its neighbours' numbers stay the same."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import misbehaving
from adbench_harness.engines.inline import Inline
from adbench_harness.engines.local import Local
from adbench_harness.planning import plan, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Bundle
from adbench_harness.running.bundle import load

OK = None
PLUGIN = str(Path(misbehaving.__file__))
EXPECTED: dict[str, tuple[str, str] | None] = {
    # ends with an exception: the stage and the message
    "exit": ("fit", "SystemExit: 0"),
    "interrupt": ("fit", "KeyboardInterrupt: no message"),
    "generator-exit": ("fit", "GeneratorExit"),
    "rude": ("fit", "Rude: I am not an Exception"),
    "stop-iteration": ("fit", "StopIteration"),
    "out-of-memory-error": ("fit", "MemoryError: no room"),
    "group": ("fit", "ExceptionGroup: many"),
    "recursion": ("fit", "RecursionError"),
    "escapes": ("fit", r"ValueError: \ufffd\[31mred"),
    "long-message": ("fit", r"ValueError: x{100,300} \.\.\."),
    "unprintable": ("fit", "UnprintableError: no message"),
    "exits-in-text": ("fit", "ExitsInTextError: no message"),
    "predict-exit": ("predict", "SystemExit: 0"),
    "predict-nothing": ("predict", "predict returned str, not Outputs"),
    "nan": ("predict", "AnomalyMap holds a value that is not finite"),
    "infinities": ("predict", "AnomalyMap holds a value that is not finite"),
    "count": ("predict", "AnomalyMap: 6 entries for a batch of 5 images|entries for a batch"),
    "shape": ("predict", "AnomalyMap: shape .*, not 3-d"),
    "complex": ("score", "."),
    "meta": ("predict", "."),
    "score-exit": ("score", "SystemExit: 0"),
    "score-rude": ("score", "Rude: no"),
    "score-interrupt": ("score", "KeyboardInterrupt: no message"),
    "chosen-exit": ("result", "SystemExit: 0"),
    "chosen-text": ("result", "chosen returned str, not a mapping"),
    "chosen-set": ("result", "chosen: 'gain' must be a text or a finite number, not set"),
    "score-nan": ("score", "image: shape"),
    "score-spoil": ("score", "score modified the model's outputs in place"),
    # ends the process: how
    "os-exit-0": ("process", "ended with exit code 0"),
    "os-exit-3": ("process", "ended with exit code 3"),
    "abort": ("process", "killed by SIGABRT"),
    "segfault": ("process", "killed by SIGSEGV"),
    "kill": ("process", "killed by SIGKILL"),
    "terminate": ("process", "killed by SIGTERM"),
    "kill-group": ("process", "killed by SIGKILL"),
    "recursion-in-c": ("process", "killed by SIGSEGV|took longer"),
    "predict-segfault": ("process", "killed by SIGSEGV"),
    "score-segfault": ("process", "killed by SIGSEGV"),
    "score-os-exit": ("process", "ended with exit code 0"),
    "close-files": ("process", "."),
    # goes past a limit: which
    "hang": ("process", "took longer than the limit of 12 s"),
    "hang-with-the-lock": ("process", "took longer than the limit"),
    "hang-without-signals": ("process", "took longer than the limit"),
    "memory": ("process", "used more memory than the limit of 1500 MB"),
    # does no harm to itself
    **dict.fromkeys(["fork", "leave-a-child", "print", "folder", "environment", "dtype"], OK),
    **dict.fromkeys(["threads", "gradients", "numpy-errors", "recursion-limit", "seeds"], OK),
    **dict.fromkeys(["score-dtype"], OK),
    **dict.fromkeys(["leave-a-thread", "streams", "predict-spoil", "integers"], OK),
}
EITHER = {"stop", "device", "modules", "warnings", "alarm", "limits"}
EITHER |= {"replace-torch", "replace-numpy"}
"""What happens to these depends on the libraries, or (stop) on whether the driver lets the process
go on after another one was measured; their neighbours must not notice."""
DEEDS = [*misbehaving.FIT, *misbehaving.CHOSEN, *misbehaving.PREDICT]
RAISED = [
    deed
    for deed in DEEDS
    if deed not in EITHER and (expected := EXPECTED[deed]) and expected[0] != "process"
]
"""Deeds that harm nobody in the same process."""


def bundle(**asked: object) -> Bundle:
    keys = {
        "plugins": [str(Path(__file__).parents[1] / "toys.py"), PLUGIN],
        "datasets": "toy-data/dark",
        "preprocessors": "none",
        "augmenters": "none",
        "scorers": "toy-map",
        "metrics": ["image_auroc", "pixel_auroc"],
        **asked,
    }
    checked = suite.validate(keys, "test")
    made = plan.make(checked, load(tuple(checked.plugins)), Locations(), device="cpu")
    (found,) = made.bundles
    return found


def run(bundle: Bundle) -> dict[str, TrialResult]:
    engine = Local(workers=2, timeout=12, memory=1500 * 2**20)
    return {r.trial.id: r for r in engine([bundle], lambda bundle: bundle, lambda *_: None)}


def scores(result: TrialResult) -> tuple[object, ...]:
    metrics = {name: value for name, value in result.metrics.items() if name.endswith("auroc")}
    return result.status, metrics, result.images.get("score", np.empty(0)).tolist()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[TrialResult, bool]]]:
    """The result of each deed, and whether the neighbour that ran after it has its own numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        bad = bundle(models="bad", set={"bad.deed": DEEDS}).trials
        gains = [float(number) for number in range(1, len(DEEDS) + 1)]
        good = bundle(models="toy-mean", set={"toy-mean.gain": gains})
        expected = {r.trial.id: r for r in Inline()([good], lambda b: b, lambda *_: None)}
        mixed = [trial for pair in zip(bad, good.trials, strict=True) for trial in pair]
        found = run(replace(bundle(models="bad"), trials=tuple(mixed)))
        assert found.keys() == {trial.id for trial in mixed}
        yield {
            deed: (found[one.id], scores(found[two.id]) == scores(expected[two.id]))
            for deed, one, two in zip(DEEDS, bad, good.trials, strict=True)
        }


@pytest.mark.parametrize("deed", DEEDS)
def test_a_bad_model(ran: dict[str, tuple[TrialResult, bool]], deed: str) -> None:
    result, unharmed = ran[deed]
    if deed not in EITHER:
        check(result, EXPECTED[deed])
    assert unharmed


def test_bad_models_in_this_process() -> None:
    bad = bundle(models="bad", set={"bad.deed": RAISED}).trials
    good = bundle(models="toy-mean").trials
    found = {r.trial.id: r for r in inline(replace(bundle(models="bad"), trials=(*bad, *good)))}
    for deed, trial in zip(RAISED, bad, strict=True):
        check(found[trial.id], EXPECTED[deed])
    for expected in inline(bundle(models="toy-mean")):
        assert scores(found[expected.trial.id]) == scores(expected)


def test_what_an_import_changes_does_not_reach_the_numbers(tmp_path: Path) -> None:
    """In this process, and in a worker."""
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import torch, numpy\ntorch.set_default_dtype(torch.float64)\n"
        "torch.set_grad_enabled(False)\ntorch.set_num_threads(3)\nnumpy.seterr(all='raise')\n"
    )
    sound = bundle(models="toy-mean,toy-trained")
    beside = replace(sound, plugins=(*sound.plugins, str(bad)))
    expected = [scores(result) for result in inline(sound)]
    assert [scores(result) for result in inline(beside)] == expected
    found = run(beside)
    assert [scores(found[trial.id]) for trial in beside.trials] == expected


def test_an_exit_without_a_word_in_this_process() -> None:
    results = inline(bundle(models="bad", set={"bad.deed": ["os-exit-0", "none"]}))
    failed, sound = (result.failures for result in results)
    assert (failed[0].stage, failed[0].message) == ("fit", "SystemExit: os._exit(0) was called")
    assert not sound


def inline(bundle: Bundle) -> Iterator[TrialResult]:
    """What the engine of this process yields in a run, where SIGINT has a handler."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield from Inline()([bundle], lambda bundle: bundle, lambda *_: None)
    finally:
        signal.signal(signal.SIGINT, before)


def check(result: TrialResult, expected: tuple[str, str] | None) -> None:
    said = [(failure.stage, failure.message) for failure in result.failures]
    if expected is None:
        assert said == []
        assert result.status == "ok"
        return
    stage, message = expected
    assert result.status == "failed"
    assert said[0][0] == stage
    assert re.search(message, said[0][1])
    # What is stored can be shown on any terminal.
    assert said[0][1].isprintable()


def test_bad_scorers_of_one_model() -> None:
    keys = {"models": "toy-mean", "scorers": "bad-scorer,toy-map,toy-fitted"}
    mixed = bundle(**keys, set={"bad-scorer.deed": list(misbehaving.SCORE)})
    # The innocent come last, after every deed.
    found = run(replace(mixed, trials=tuple(sorted(mixed.trials, key=lambda t: t.scorer.name))))
    alone = bundle(models="toy-mean", scorers="toy-map,toy-fitted")
    for expected in Inline()([alone], lambda b: b, lambda *_: None):
        assert scores(found[expected.trial.id]) == scores(expected)
    for trial in mixed.trials:
        if trial.scorer.name == "bad-scorer":
            check(found[trial.id], EXPECTED[str(trial.scorer.params["deed"])])


def test_the_end_of_a_dead_workers_output_is_kept(ran: dict[str, tuple[TrialResult, bool]]) -> None:
    (failure,) = ran["segfault"][0].failures
    assert "Segmentation fault" in failure.traceback
    assert 'misbehaving.py", line' in failure.traceback
