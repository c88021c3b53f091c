"""The store, for any result."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adbench_harness.errors import UserError
from adbench_harness.results import reading
from adbench_harness.results.store import Failure, Heading, Store, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial, Weights

few = settings(max_examples=40)
TEXT = st.text(max_size=12)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CHOICES = st.builds(
    Choice,
    name=NAMES,
    version=st.integers(0, 9),
    params=st.dictionaries(NAMES, JSON, max_size=3),
    changed=st.lists(NAMES, max_size=2).map(tuple),
)
TRIALS = st.builds(
    Trial,
    dataset=CHOICES,
    category=TEXT,
    fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16),
    protocol=st.sampled_from(["unsupervised", "classification", "zero-shot"]),
    split_seed=st.integers(0, 9),
    preprocessors=st.lists(CHOICES, max_size=2).map(tuple),
    augmenter=st.none() | CHOICES,
    model=CHOICES,
    scorer=CHOICES,
    weights=st.lists(st.builds(Weights, NAMES, st.integers(0, 9)), max_size=2).map(tuple),
    seed=st.integers(0, 2**40),
    evaluation=st.builds(EvaluationSettings, st.none() | st.integers(1, 999)),
    metrics=st.lists(NAMES, max_size=3).map(tuple),
    auxiliary=st.just(()),
    files=st.just(()),
)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ARRAYS = st.fixed_dictionaries(
    {
        "path": st.just(np.array(["a.png", "b/c.png", "é.png"])),
        "defect": st.lists(NAMES, min_size=3, max_size=3).map(np.array),
        "label": arrays.arrays(np.int8, 3, elements=st.integers(-1, 1)),
        "score": arrays.arrays(np.float32, 3, elements=FINITE),
    }
)
RESULTS = st.builds(
    TrialResult,
    trial=TRIALS,
    status=st.sampled_from(["ok", "failed"]),
    metrics=st.dictionaries(NAMES, st.floats(), max_size=4),
    columns=st.dictionaries(NAMES, st.builds(Heading, TEXT, st.just("")), max_size=2),
    intervals=st.dictionaries(NAMES, st.tuples(st.floats(-1, 0), st.floats(0, 1)), max_size=2),
    seconds_alone=st.just({}),
    seconds_shared=st.just({}),
    # The facts that the harness reads have types of their own.
    provenance=st.dictionaries(NAMES.filter(lambda n: n not in reading._FACTS), JSON, max_size=3),
    flags=st.lists(TEXT, max_size=2).map(tuple),
    chosen=st.just({}),
    failures=st.lists(st.builds(Failure, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    images=st.just({}) | ARRAYS,
    maps=st.none(),
    curves=st.dictionaries(
        st.sampled_from(["loss 1", "loss é"]), arrays.arrays(np.float64, 2), max_size=2
    ),
)


@contextmanager
def fresh() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield Store(Path(folder))


def same(found: dict[str, Any], wanted: Any) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == wanted[name].dtype
        and np.array_equal(found[name], wanted[name], equal_nan=found[name].dtype.kind == "f")
        for name in wanted
    )


def as_stored(result: TrialResult) -> TrialResult:
    """Without its arrays, which are in other files, and without undefined metrics."""
    finite = {name: value for name, value in result.metrics.items() if math.isfinite(value)}
    return replace(result, metrics=finite, images={}, maps=None, curves={})


@few
@given(RESULTS)
def test_what_is_put_is_got(result: TrialResult) -> None:
    with fresh() as store:
        store.write(result)
        assert list(store.read()) == [as_stored(result)]
        assert same(store.images(result.trial), result.images)
        assert same(store.curves(result.trial), result.curves)


@few
@given(RESULTS, RESULTS)
def test_what_is_put_twice_is_there_once(first: TrialResult, second: TrialResult) -> None:
    second = replace(second, trial=first.trial)
    with fresh() as store:
        for result in (first, second, second):
            store.write(result)
        assert list(store.read()) == [as_stored(second)]
        assert same(store.images(first.trial), second.images), "no array of the first is left"
        assert same(store.curves(first.trial), second.curves)


@few
@given(RESULTS, RESULTS, st.integers(0, 3))
def test_a_write_that_fails_leaves_a_whole_result(
    first: TrialResult, second: TrialResult, allowed: int
) -> None:
    """The disk is full after any number of files."""
    second = replace(second, trial=first.trial)
    moves = iter([True] * allowed)
    move = os.replace

    def replaced(*paths: Any) -> None:
        if not next(moves, False):
            raise OSError(28, "No space left on device")
        move(*paths)

    with fresh() as store:
        store.write(first)
        files = 1 + bool(second.images) + bool(second.curves)
        with mock.patch("os.replace", replaced):
            if allowed < files:
                with pytest.raises(UserError, match="make room"):
                    store.write(second)
            else:
                store.write(second)
        assert list(store.read()) == [as_stored(second if allowed >= files else first)]
        assert not list(store.trials.glob("*.tmp"))


@few
@given(RESULTS, st.data())
def test_a_half_written_file_is_never_read(result: TrialResult, data: st.DataObject) -> None:
    """A killed run leaves the beginning of a file under a temporary name."""
    with fresh() as store:
        store.write(result)
        (path,) = store.trials.glob("*.json")
        content = path.read_bytes()
        half = content[: data.draw(st.integers(0, len(content)))]
        (store.trials / "tmpabc.tmp").write_bytes(half)
        (store.trials / "notes.txt").write_bytes(half)
        assert list(store.read()) == [as_stored(result)]
        store.sweep()
        assert not list(store.trials.glob("*.tmp"))
        assert (store.trials / "notes.txt").exists(), "what a user put there is kept"
