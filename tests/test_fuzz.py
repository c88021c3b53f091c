"""Any bytes in a suite, a result or a table: a value or a UserError, never another exception.

Each reader gets arbitrary bytes, and damaged copies of good files. ``ADBENCH_FUZZ=20000 pytest
tests/test_fuzz.py`` tries that many of each.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from adbench_harness.datasets import table
from adbench_harness.errors import UserError
from adbench_harness.planning import plan, plugins, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import SCHEMA, Failure, Heading, Record, Store, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial, Weights

EXAMPLES = int(os.environ.get("ADBENCH_FUZZ", "60"))
fuzzed = settings(
    max_examples=EXAMPLES,
    # A short example of a damaged file is found at once, or never.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TRIAL = Trial(
    dataset=Choice("mini", 1),
    category="grass",
    fingerprint="0123456789abcdef",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(Choice("mean", 1, {"size": 11}, ("size",)),),
    augmenter=None,
    model=Choice("patchcore", 1, {"layers": ["layer2"], "inner": Choice("padim", 1).plain()}),
    scorer=Choice("nn", 1),
    weights=(Weights("resnet18", 1, None, "f370", False),),
    seed=3,
    evaluation=EvaluationSettings(256, "crop"),
    metrics=("image_auroc@1",),
    auxiliary=(("textures", "0123"),),
)
RESULT = TrialResult(
    trial=TRIAL,
    status="ok",
    metrics={"image_auroc": 0.5},
    columns={"image_auroc": Heading("image AUROC")},
    intervals={"image_auroc": (0.25, 0.75)},
    seconds_alone={"fit": 1.25},
    provenance={"device": "cpu", "threads": 1, "plugins": {"basic": "adbench-harness 1"}},
    failures=(Failure("cost", "no", "Traceback"),),
)
SUITE = """
plugins = ["padim"]
datasets = ["mini/brick"]
preprocessors = ["none", ["mean:size=11", "median"]]
models = [{name = "padim", dimensions = [50, 100]}, "padim:resize=64"]
seeds = 3
[set]
"padim.crop" = "none"
[evaluation]
border = "crop"
"""
TABLE = """path,split,label,mask,category,group
a.png,train,0,,nut,one
b.png,test,anomalous,m.png; m.png,nut,two
a.png,test,0,,bolt,
"""


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Copies of a file in which pieces were replaced, removed, moved or repeated."""
    place = st.integers(0, len(good))
    piece = st.one_of(
        st.binary(max_size=6),
        st.sampled_from([b"\x00", b"\xff\xfe", b'"', b"{", b"[" * 5000, b"null", b"1e999", b"\n"]),
        st.sampled_from([b"NaN", b"-1", b"\\ud800", b"x" * 5000, b"../" * 9, b"true", b"9" * 5000]),
        st.tuples(place, place).map(lambda ends: good[min(ends) : max(ends)]),
    )

    def cut(edits: list[tuple[int, int, bytes]]) -> bytes:
        content = good
        for start, length, new in edits:
            content = content[:start] + new + content[start + length :]
        return content

    edit = st.tuples(place, st.integers(0, 12), piece)
    return st.lists(edit, min_size=1, max_size=4).map(cut)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["none", "toy-mean", "toy-data/dark", "toy-map:pool=max", "a:b=(", "fit", "ok"]
    ),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def swapped(draw: st.DataObject, content: Any) -> Any:
    """A copy of JSON content in which some values were replaced, and some keys removed."""
    if isinstance(content, dict):
        kept = [key for key in content if draw.draw(st.integers(0, 19)) > 0]
        return {key: swapped(draw, content[key]) for key in kept}
    if isinstance(content, list):
        return [swapped(draw, item) for item in content]
    return draw.draw(VALUES) if draw.draw(st.integers(0, 9)) == 0 else content


def tried(read: Callable[[], Any]) -> None:
    """Fails if anything but a UserError is raised."""
    with suppress(UserError):
        read()


# ---------------------------------------------------------------- suites


@fuzzed
@example(b"seeds = " + b"[" * 5000)
@example(b"seeds = " + b"9" * 5000)
@example(SUITE.encode("utf-16"))
@given(st.one_of(st.binary(max_size=200), damaged(SUITE.encode())))
def test_a_suite_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "suite.toml"
    file.write_bytes(content)
    tried(lambda: suite.validate(suite.read(file), str(file)))


@fuzzed
@given(st.dictionaries(st.sampled_from([*suite.Suite.model_fields, "other"]), VALUES, max_size=5))
def test_the_content_of_a_suite(content: dict[str, Any]) -> None:
    tried(lambda: suite.validate({"plugins": ["any"], **content}, "run()"))


@pytest.fixture(scope="module")
def toys_loaded() -> plugins.Catalogue:
    return plugins.load([str(Path(__file__).with_name("toys.py"))])


@fuzzed
@given(data=st.data())
def test_the_plan_of_a_suite(toys_loaded: plugins.Catalogue, data: st.DataObject) -> None:
    good = {
        "plugins": ["toys"],
        "datasets": ["toy-data/dark", {"name": "toy-data"}],
        "preprocessors": ["none", [{"name": "toy-dim", "factor": 0.5}]],
        "augmenters": ["none", "toy-square:side=4"],
        "models": [{"name": "toy-trained"}, "toy-mean:gain=2"],
        "scorers": ["toy-map", "toy-fitted"],
        "set": {"toy-mean.layers": ["a", "b"]},
        "overrides": {"dark": {"toy-mean.gain": 3}},
        "protocol": "unsupervised",
        "seeds": [0, 1],
        "shots": [1, 2],
        "validation": 0.25,
        "unified": False,
        "evaluation": {"size": 20, "border": "crop"},
    }

    def planned() -> None:
        checked = suite.validate(swapped(data, good), "run()")
        plan.make(checked, toys_loaded, Locations(), device="cpu")

    tried(planned)


# ---------------------------------------------------------------- results


def stored() -> dict[str, Any]:
    own = {one.name for one in fields(Record)}
    plain = {name: value for name, value in asdict(RESULT).items() if name in own}
    content = {"schema": SCHEMA, "id": TRIAL.id, **plain}
    return json.loads(json.dumps(content))  # type: ignore[no-any-return]


def read_results(store: Store) -> None:
    """What every command does with a folder of results."""
    found = list(store.read())
    for result in found:
        assert isinstance(result, TrialResult)
        assert isinstance(result.trial.id, str)
        assert isinstance(result.trial.title, str)


@fuzzed
@example(b"")
@example(b"[" * 100_000)
@example(b"9" * 5000)
@example(b'{"schema": 2}')
@given(st.one_of(st.binary(max_size=200), damaged(json.dumps(stored(), indent=1).encode())))
def test_a_result_file(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.trials.mkdir(exist_ok=True)
    (store.trials / f"{TRIAL.id}.json").write_bytes(content)
    tried(lambda: read_results(store))


@fuzzed
@given(data=st.data())
def test_the_content_of_a_result(tmp_path: Path, data: st.DataObject) -> None:
    store = Store(tmp_path)
    store.trials.mkdir(exist_ok=True)
    content = {**swapped(data, stored()), "schema": SCHEMA}
    (store.trials / f"{TRIAL.id}.json").write_text(json.dumps(content))
    tried(lambda: read_results(store))


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        path=np.array(["a.png", "b.png"]),
        defect=np.array(["good", "hole"]),
        label=np.array([0, 1], np.int8),
        score=np.array([0.1, 0.2], np.float32),
    )
    return file.getvalue()


@fuzzed
@example(b"")
@example(arrays()[:100])
@example(b"\x80\x04N.")  # a pickle
@given(st.one_of(st.binary(max_size=200), damaged(arrays())))
def test_the_arrays_of_a_result(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.trials.mkdir(exist_ok=True)
    for suffix in ("npz", "maps.npz", "curves.npz"):
        (store.trials / f"{TRIAL.id}.{suffix}").write_bytes(content)
    for read in (store.images, store.maps, store.curves):
        tried(lambda read=read: read(TRIAL))  # type: ignore[misc]


# ---------------------------------------------------------------- tables


@fuzzed
@example(b"path,split,label\n" + b"x" * 5000 + b".png,train,0\n")
@example(b"path,split,label\n" + b"a\\" * 5000 + b".png,train,0\n")
@example(b"path,split,label\na\x00.png,train,0\n")
@example(b'path,split,label\n"' + b"x" * 200_000)
@given(
    st.one_of(st.binary(max_size=200), damaged(TABLE.encode()), damaged(TABLE.encode("utf-8-sig")))
)
def test_a_table(tmp_path: Path, content: bytes) -> None:
    for name in ("a.png", "b.png", "m.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes())
    file = tmp_path / "parts.csv"
    file.write_bytes(content)

    def read() -> None:
        for category in table.categories(file):
            for split in (True, False):
                table.samples(file, tmp_path, category, split=split)

    tried(read)
    tried(lambda: table.notes(file))
