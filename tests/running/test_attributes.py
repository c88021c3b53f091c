from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adbench_harness.running.attributes import attributes, unchanged
from adbench_harness.types import InputSpec, Model


class Net(nn.Module, Model):
    name = "net"
    summary = "a component that is a module"
    version = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("absent", None)
        self.steps = 3

    def fit(self, train: Any, tools: Any) -> None: ...

    def predict(self, batch: Any) -> Any: ...


def test_a_module_carries_what_its_author_set_and_not_what_torch_keeps() -> None:
    held = attributes(Net())
    assert set(held) == {"layer", "scale", "mean", "steps", "training"}
    assert held["steps"] == 3


class Settings:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def halved(self) -> float:
        return self.rate / 2


@dataclass
class Pair:
    left: Any
    right: Any


SAME = [
    ("a", "a"),
    (float("nan"), float("nan")),
    (np.arange(3), np.arange(3)),
    ([1, (2, {"a": None})], [1, (2, {"a": None})]),
    (InputSpec(64, None), InputSpec(64, None)),
    (Settings(0.1), Settings(0.1)),
    (Pair(1, [2]), Pair(1, [2])),
    (partial(int, base=2), partial(int, base=2)),
    (Settings.halved, Settings.halved),
    (len, len),
    (int, int),
    ({1, 2}, {2, 1}),
]
OTHER = [
    ("a", "b"),
    (1, 1.0),
    (1, True),
    (0.0, -0.0),
    (np.arange(3), np.arange(3, dtype=np.float32)),
    (np.arange(3), np.arange(4)),
    (np.array([None]), np.array([None])),
    ([1, 2], [1, 2, 3]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (InputSpec(64, None), InputSpec(65, None)),
    (Settings(0.1), Settings(0.2)),
    (Pair(1, [2]), Pair(1, [3])),
    (partial(int, base=2), partial(int, base=8)),
    (len, max),
    (int, float),
    ({1, 2}, {1}),
]


@pytest.mark.parametrize(("now", "before"), SAME, ids=range(len(SAME)))
def test_what_fit_left_as_it_was(now: Any, before: Any) -> None:
    assert unchanged(now, before)


@pytest.mark.parametrize(("now", "before"), OTHER, ids=range(len(OTHER)))
def test_what_fit_changed(now: Any, before: Any) -> None:
    assert not unchanged(now, before)


@pytest.mark.parametrize(
    "value", [torch.zeros(1), nn.Linear(1, 1), Net()], ids=["tensor", "layer", "network"]
)
def test_what_may_change_without_a_trace_counts_as_changed(value: Any) -> None:
    assert not unchanged(value, value)
    assert not unchanged([value], [value])


def test_what_contains_itself_can_be_compared() -> None:
    first: list[Any] = [1]
    first.append(first)
    second: list[Any] = [1]
    second.append(second)
    assert unchanged(first, second)
    second[0] = 2
    assert not unchanged(first, second)
