from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from adbench_harness.errors import Interrupted, UserError
from adbench_harness.planning import plan, plugins, suite, witness
from adbench_harness.planning.locations import Locations

PluginFile = Callable[[str, str], str]
WHAT = "the import of plugin 'x'"
HEAD = f"""
import ctypes, os, signal, sys, time
from adbench_harness.planning import witness
witness._SLOW, witness._GRACE = 0.5, 0.1
with witness.during("what was before"):
    pass
with witness.during({WHAT!r}):
    pass
"""
TESTS = Path(__file__).parents[1]


def started(body: str) -> subprocess.Popen[str]:
    """A process that runs ``body`` under a witness."""
    code = HEAD.replace("    pass\n", "    print('begun', flush=True)\n", 1)
    code = code[::-1].replace("pass"[::-1], body.replace("\n", "\n    ")[::-1], 1)[::-1]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)


ENDS = {
    "segfault": ("ctypes.string_at(0)", -signal.SIGSEGV),
    "abort": ("os.abort()", -signal.SIGABRT),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "terminate": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "exit of C": ("ctypes.CDLL(None)._exit(0)", 0),
    "beside a child": (
        "if not os.fork():\n    time.sleep(1)\n    os._exit(0)\nos.abort()",
        -signal.SIGABRT,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_ends_the_process_is_named(end: str) -> None:
    body, code = ENDS[end]
    process = started(body)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err == (
        f"adbench: error: the process ended during {WHAT}; fix it or leave it out of --plugins\n"
    )


def test_nothing_is_said_of_what_returns() -> None:
    for body in ("pass", "if not os.fork(): os._exit(0)", "os.closerange(3, 99); time.sleep(2)"):
        process = started(body)
        assert process.communicate(timeout=30) == ("begun\n", "")
        assert process.returncode == 0


def spoil() -> None:
    os.chdir("/")
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    sys.setrecursionlimit(500)
    torch.set_default_dtype(torch.float64)
    raise KeyError


def test_what_others_need_is_put_back() -> None:
    def seen() -> tuple[object, ...]:
        numbers = torch.get_default_dtype(), sys.getrecursionlimit()
        return os.getcwd(), sys.stdout, sys.stderr, numbers

    before = seen()
    with pytest.raises(KeyError), witness.during("this"):
        spoil()
    assert seen() == before


def test_what_takes_long_is_named_once() -> None:
    process = started("time.sleep(1.5)")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err == (
        f"adbench: {WHAT} has taken 0.5 s; if it does not end, interrupt it and fix it or leave it "
        "out of --plugins\n"
    )


def test_what_does_not_react_to_an_interrupt_is_named() -> None:
    process = started("signal.signal(2, signal.SIG_IGN); print(flush=True); time.sleep(9)")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    said = [process.stderr.readline() for _ in range(2)]
    assert f"adbench: {WHAT} does not react; end it with 'kill -9 {process.pid}'\n" in said
    process.kill()
    process.communicate()


def test_an_interrupt_knows_what_it_interrupted() -> None:
    with pytest.raises(Interrupted) as error, witness.during("all"), witness.during("a part"):
        signal.raise_signal(signal.SIGINT)
    assert (error.value.number, error.value.what) == (signal.SIGINT, "a part")


def test_an_exit_without_a_word_is_an_error_but_not_in_a_child() -> None:
    leave = os._exit
    with pytest.raises(SystemExit, match=r"os._exit\(3\) was called"), witness.during("this"):
        os._exit(3)
    with witness.during("this"):
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os._exit is leave


def _in_a_worker() -> None:
    with witness.during("this"):
        os._exit(len(os.listdir("/proc/self/fd")))


def test_a_worker_has_no_witness() -> None:
    counts = set()
    for run in (_in_a_worker, _fds):
        process = get_context("fork").Process(target=run)
        process.start()
        process.join()
        counts.add(process.exitcode)
    assert len(counts) == 1


def _fds() -> None:
    os._exit(len(os.listdir("/proc/self/fd")))


# ---------------------------------------------------------------- what is witnessed


def blamed(monkeypatch: pytest.MonkeyPatch, *names: str) -> str:
    """What runs when an author's code calls ``os.abort``."""
    seen = []

    def abort() -> None:
        seen.append(witness._running[-1])
        raise SystemExit

    monkeypatch.setattr(os, "abort", abort)
    toys = str(TESTS / "toys.py")
    try:
        asked = suite.validate({"plugins": [*names, toys], "datasets": "toy-data"}, "test")
        plan.make(asked, plugins.load(names), Locations())
    except UserError:
        pass
    (what,) = set(seen)
    return what


MINE = """
import os
from adbench_harness.basic.scorers import MapScorer
from toys import ToyModel
class Mine(ToyModel):
    name = "mine"
{body}
@hookimpl
def adbench_models():
    {hook}
    return [Mine]
"""


def test_the_plugin_is_named_wherever_its_code_runs(
    plugin_file: PluginFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plugin_file("whole", "import os; os.abort()")
    assert blamed(monkeypatch, path) == f"the import of plugin 'whole' of {path}"
    path = plugin_file("hook", MINE.format(body="", hook="os.abort()"))
    assert blamed(monkeypatch, path) == f"adbench_models of plugin 'hook' of {path}"
    for body in ("def __init__(self): os.abort()", "emits = property(lambda _: os.abort())"):
        path = plugin_file("made", MINE.format(body=f"    {body}", hook="pass"))
        what = blamed(monkeypatch, path)
        assert what == f"the planning of model 'mine' of plugin 'made' of {path}"
