"""A plugin whose models and scorers do what no plugin should: ``--plugins tests/misbehaving.py``.

``MODEL_DEEDS`` and ``SCORER_DEEDS`` have what each does, by name. A deed of a model happens in
``fit`` or in ``predict``, as its name says, and may return what ``predict`` then returns.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    ImageScore,
    Level,
    Outputs,
    Scores,
    Tools,
    TrainSet,
)
from toys import ToyModel, ToyScorer

MOST = 3 * 2**30
"""Bytes after which the greedy model gives up, for the sake of the machine."""


class Rude(BaseException):
    """An exception that is not an Exception."""


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class ExitsInTextError(Exception):
    def __str__(self) -> str:
        sys.exit(0)


def raising(error: BaseException) -> Callable[[Any], NoReturn]:
    def deed(_: Any) -> NoReturn:
        raise error

    return deed


def segfault(_: Any) -> None:
    ctypes.string_at(0)


def hang(_: Any) -> None:
    while True:
        time.sleep(1)


def hang_with_the_lock(_: Any) -> None:
    ctypes.PyDLL(None).sleep(600)


def hang_without_signals(_: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    hang(_)


def come_back_twice(_: Any) -> None:
    os.fork()


def leave_a_child(_: Any) -> None:
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def take_memory(_: Any) -> None:
    held = []
    while sum(map(len, held)) < MOST:
        held.append(bytearray(os.urandom(1)) * 2**25)
    raise AssertionError("nobody stopped this")


def recurse(_: Any) -> None:
    recurse(_)


def recurse_in_c(_: Any) -> None:
    sys.setrecursionlimit(2**30)
    nested: list[Any] = []
    for _i in range(10**6):
        nested = [nested]
    repr(nested)


def print_megabytes(_: Any) -> None:
    print("x" * 20_000_000)
    os.write(2, b"\xff\x00" * 5_000_000)


def leave_the_folder(_: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)


def replace_torch(_: Any) -> None:
    torch.Tensor.abs = lambda self: self * 0  # type: ignore[method-assign, assignment]
    torch.cat = lambda tensors, *_, **__: tensors[0] * 0


def replace_numpy(_: Any) -> None:
    np.stack = lambda *_, **__: np.zeros(1)


def reseed(_: Any) -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the legacy generator is what is to be spoilt
    torch.manual_seed(0)


def leave_a_thread(_: Any) -> None:
    def spin() -> None:
        while True:
            torch.set_num_threads(1)
            torch.manual_seed(0)

    threading.Thread(target=spin).start()


def set_an_alarm(_: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.3)


def forbid_files(_: Any) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def close_streams(_: Any) -> None:
    sys.stdout.close()
    sys.stderr = None


def spoil(batch: Batch) -> None:
    batch.images.zero_()


def outputs(maps: torch.Tensor, scores: torch.Tensor | None = None) -> Outputs:
    flat = maps.flatten(1).float().mean(1) if scores is None else scores
    return Outputs((32, 32), AnomalyMap((Level(maps),)), ImageScore(flat))


def map_with(*values: float) -> Callable[[Batch], Outputs]:
    def deed(batch: Batch) -> Outputs:
        maps = torch.zeros(len(batch), 32, 32)
        maps[0, 0, : len(values)] = torch.tensor(values)
        return outputs(maps, torch.zeros(len(batch)))

    return deed


CHOSEN: dict[str, Callable[[Any], Any]] = {
    "chosen-exit": lambda _: sys.exit(0),
    "chosen-text": lambda _: "nothing",
    "chosen-set": lambda _: {"gain": {1}},
}
FIT: dict[str, Callable[[Any], Any]] = {
    "exit": lambda _: sys.exit(0),
    "interrupt": raising(KeyboardInterrupt()),
    "generator-exit": raising(GeneratorExit()),
    "rude": raising(Rude("I am not an Exception")),
    "stop-iteration": raising(StopIteration()),
    "out-of-memory-error": raising(MemoryError("no room")),
    "group": raising(ExceptionGroup("many", [ValueError("one"), OSError("two")])),
    "os-exit-0": lambda _: os._exit(0),
    "os-exit-3": lambda _: os._exit(3),
    "abort": lambda _: os.abort(),
    "segfault": segfault,
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "kill-group": lambda _: os.killpg(0, signal.SIGKILL),
    "hang": hang,
    "hang-with-the-lock": hang_with_the_lock,
    "hang-without-signals": hang_without_signals,
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "fork": come_back_twice,
    "leave-a-child": leave_a_child,
    "memory": take_memory,
    "recursion": recurse,
    "recursion-in-c": recurse_in_c,
    "print": print_megabytes,
    "escapes": raising(ValueError("\x1b[31mred\x1b]0;title\x07 \ud800 \x00 \u202e")),
    "long-message": raising(ValueError("x" * 20_000_000)),
    "unprintable": raising(UnprintableError()),
    "exits-in-text": raising(ExitsInTextError()),
    "folder": leave_the_folder,
    "environment": lambda _: os.environ.clear(),
    "dtype": lambda _: torch.set_default_dtype(torch.float64),
    "device": lambda _: torch.set_default_device("meta"),
    "threads": lambda _: torch.set_num_threads(7),
    "gradients": lambda _: torch.set_grad_enabled(False),
    "numpy-errors": lambda _: np.seterr(all="raise"),
    "warnings": lambda _: warnings.simplefilter("error"),
    "recursion-limit": lambda _: sys.setrecursionlimit(400),
    "seeds": reseed,
    "replace-torch": replace_torch,
    "replace-numpy": replace_numpy,
    "modules": lambda _: sys.modules.pop("numpy"),
    "leave-a-thread": leave_a_thread,
    "alarm": set_an_alarm,
    "limits": forbid_files,
    "streams": close_streams,
    "close-files": lambda _: os.closerange(3, 1000),
}
PREDICT: dict[str, Callable[[Batch], Outputs | None]] = {
    "predict-exit": lambda _: sys.exit(0),
    "predict-segfault": segfault,
    "predict-spoil": spoil,
    "predict-nothing": lambda _: "nothing",  # type: ignore[return-value, dict-item]
    "nan": map_with(float("nan")),
    "infinities": map_with(float("inf"), float("-inf")),
    "count": lambda batch: outputs(torch.zeros(len(batch) + 1, 32, 32)),
    "shape": lambda batch: outputs(torch.zeros(len(batch), 1, 32, 32)),
    "integers": lambda batch: outputs(torch.zeros(len(batch), 32, 32, dtype=torch.long)),
    "complex": lambda batch: outputs(torch.zeros(len(batch), 32, 32, dtype=torch.complex64)),
    "meta": lambda batch: outputs(torch.zeros(len(batch), 32, 32, device="meta")),
}
SCORE: dict[str, Callable[[Outputs], Any]] = {
    "score-exit": lambda _: sys.exit(0),
    "score-rude": raising(Rude("no")),
    "score-interrupt": raising(KeyboardInterrupt()),
    "score-segfault": segfault,
    "score-os-exit": lambda _: os._exit(0),
    "score-dtype": lambda _: torch.set_default_dtype(torch.float64),
    "score-spoil": lambda outputs: outputs[AnomalyMap].levels[0].values.zero_(),
    "score-nan": lambda _: Scores(torch.full((1,), torch.nan)),
}


class Misbehaving(ToyModel):
    """Does what ``deed`` names, in ``fit`` or in ``predict``."""

    name: ClassVar[str] = "bad"

    def __init__(self, *, deed: str = "none") -> None:
        self.gain = 1.0
        self.deed = deed

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        super().fit(train, tools)
        if self.deed in FIT:
            FIT[self.deed](self)
        return self

    def chosen(self) -> Any:
        return CHOSEN[self.deed](self) if self.deed in CHOSEN else super().chosen()

    def predict(self, batch: Batch) -> Outputs:
        made = PREDICT[self.deed](batch) if self.deed in PREDICT else None
        return super().predict(batch) if made is None else made


class MisbehavingScorer(ToyScorer):
    """Does what ``deed`` names."""

    name: ClassVar[str] = "bad-scorer"

    def __init__(self, *, deed: str = "none") -> None:
        self.pool = "max"
        self.deed = deed

    def score(self, outputs: Outputs) -> Scores:
        made = SCORE[self.deed](outputs)
        return made if isinstance(made, Scores) else super().score(outputs)


@hookimpl
def adbench_models() -> list[type[ToyModel]]:
    return [Misbehaving]


@hookimpl
def adbench_scorers() -> list[type[ToyScorer]]:
    return [MisbehavingScorer]
