from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adbench_harness.errors import UserError
from adbench_harness.results.reading import Damaged
from adbench_harness.results.store import Store
from stored import IMAGES, TRIAL, result

Content = dict[str, Any]


def changed(*path: str, to: Any) -> Callable[[Content], Content]:
    """Sets the value at ``path``."""

    def change(content: Content) -> Content:
        place = content
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to
        return content

    return change


def without(*path: str) -> Callable[[Content], Content]:
    """Removes the value at ``path``."""

    def change(content: Content) -> Content:
        place = content
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        return content

    return change


DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
CONTENTS: dict[str, tuple[Callable[[Content], Content], str]] = {
    "a key is missing": (without("metrics"), "'metrics' is missing"),
    "a key is unknown": (changed("extra", to=1), "'extra' is unknown"),
    "the trial is missing": (without("trial"), "trial: Field required"),
    "the trial is a list": (changed("trial", to=[]), "trial: "),
    "a key of the trial is missing": (without("trial", "model"), "trial.model: Field required"),
    "a key of the trial is unknown": (changed("trial", "x", to=1), "'x' is unknown"),
    "a key of a heading is unknown": (
        changed("columns", "params", "x", to=1),
        "'x' is unknown",
    ),
    "a number is text": (changed("metrics", "image_auroc", to="0.5"), "another type"),
    "a number is a list": (changed("metrics", "image_auroc", to=[1]), "metrics.image_auroc: "),
    "a number is null": (changed("metrics", "image_auroc", to=None), "metrics.image_auroc: "),
    "a number is NaN": (changed("metrics", "image_auroc", to=float("nan")), "'image_auroc' is nan"),
    "a number is infinite": (changed("metrics", "params", to=float("inf")), "'params' is inf"),
    "a number is huge": (changed("metrics", "params", to=10**400), "metrics.params: "),
    "a fraction is above 1": (changed("metrics", "image_auroc", to=1.5), "'image_auroc' is 1.5"),
    "a fraction is negative": (changed("metrics", "image_auroc", to=-0.1), "'image_auroc' is -0.1"),
    "a count is negative": (changed("metrics", "params", to=-3.0), "'params' is -3.0"),
    "a time is negative": (changed("seconds_alone", "fit", to=-1.0), "'fit' is -1.0"),
    "a time is infinite": (changed("seconds_alone", "fit", to=float("inf")), "'fit' is inf"),
    "an interval is above 1": (
        changed("intervals", "image_auroc", to=[0.5, 1.2]),
        "'image_auroc' is 1.2",
    ),
    "an interval is backwards": (
        changed("intervals", "image_auroc", to=[0.75, 0.25]),
        "the interval of 'image_auroc' is from 0.75 to 0.25",
    ),
    "an interval is NaN": (
        changed("intervals", "image_auroc", to=[float("nan"), 1.0]),
        "the interval of 'image_auroc' is from nan to 1.0",
    ),
    "an interval has one end": (changed("intervals", "image_auroc", to=[0.5]), "intervals.image"),
    "a seed is huge": (changed("trial", "seed", to=10**400), "its id is not that"),
    "the status is another": (changed("status", to="great"), "status: Input should be 'ok'"),
    "the flags are text": (changed("flags", to="abc"), "flags: "),
    "a unit is another": (changed("columns", "params", "unit", to="m"), "columns.params.unit: "),
    "a failure is text": (changed("failures", to=["no"]), "failures.0: "),
    "the date is a number": (changed("provenance", "finished", to=5), "'finished' has a value"),
    "the plugins are a list": (changed("provenance", "plugins", to=["a"]), "'plugins' has a value"),
    "a parameter is deep": (
        changed("trial", "model", "params", "crop", to=DEEP),
        "depth|ecursion|its id is not that",
    ),
    "the id is another": (changed("id", to="0" * 16), "its id is not that of its trial"),
    "the trial is another": (changed("trial", "seed", to=8), "its id is not that"),
}


def huge_number(content: Content) -> bytes:
    return json.dumps(content).replace("0.5,", "1" * 5000 + ",").encode()


FILES: dict[str, tuple[Callable[[Content], bytes], str]] = {
    "it is empty": (lambda _: b"", "JSONDecodeError"),
    "it is cut off": (lambda content: json.dumps(content).encode()[:-40], "JSONDecodeError"),
    "it has a merge's marks": (lambda _: b"<<<<<<< ours\n{}", "JSONDecodeError"),
    "it is not UTF-8": (lambda _: b"\xff\xfe{", "Error"),
    "it is deep": (lambda _: b'{"schema":' + b"[" * 100_000, "RecursionError"),
    "a parameter is deep": (
        lambda content: (
            json.dumps(content).replace('"crop": null', '"crop": ' + "[" * 900 + "]" * 900).encode()
        ),
        "depth|ecursion|its id is not that",
    ),
    "a number has 5,000 digits": (huge_number, "ValueError"),
}
FILES |= {
    name: (lambda content, change=change: json.dumps(change(content)).encode(), reason)
    for name, (change, reason) in CONTENTS.items()
}


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **{**IMAGES, **arrays})
    return file.getvalue()


class Evil:
    """Says when it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was loaded",)


ARRAYS: dict[str, tuple[bytes, str]] = {
    "it is empty": (b"", "EOFError|No data"),
    "it is cut off": (saved()[:-30], "not a zip file|BadZipFile"),
    "a byte is wrong": (saved().replace(saved()[80:82], b"\0\0", 1), "Error|BadZip"),
    "it is a pickle": (pickle.dumps(Evil()), "it has a pickle"),
    "an array is a pickle": (saved(extra=np.array([Evil()], object)), "it has a pickle"),
    "it is a single array": (b"\x93NUMPY" + b"\1\0" * 40, "Error"),
    "it is text": (b"hello", "it has a pickle"),
    "an array is unknown": (saved(extra=np.zeros(2)), "'extra' is unknown"),
    "the scores are text": (saved(score=np.array(["a", "b"])), "'score' is unknown or has another"),
    "the scores are too many": (saved(score=np.zeros(3)), "'score' has another length"),
    "a score is nan": (saved(score=np.array([0.5, np.nan])), "'score' has a value that is not fin"),
    "a label is 7": (saved(label=np.array([0, 7], np.int8)), "'label' has a value that is not 0"),
    "the labels are a table": (saved(label=np.zeros((2, 1), np.int8)), "'label' is unknown or has"),
    "probabilities have no class": (
        saved(probability=np.zeros((2, 2), np.float32)),
        "'probability' has another number of columns than 'class'",
    ),
    "a class has no probabilities": (
        saved(**{"class": np.array(["good", "kratzer"])}),
        "'probability' has another number of columns than 'class'",
    ),
    "a path goes up": (saved(path=np.array(["a.png", "../b.png"])), r"'../b.png' is not a path"),
    "a path is absolute": (saved(path=np.array(["a.png", "/b.png"])), r"b.png' is not a path in"),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    store.write(result())
    return store


NOT_FILES: dict[str, Callable[[Path], Any]] = {
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/full"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("suffix", ["json", "npz", "maps.npz", "curves.npz"])
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_is_not_a_file_is_damage(store: Store, suffix: str, what: str) -> None:
    """Reading it might not end, or might take all the memory."""
    path = store.trials / f"{TRIAL.id}.{suffix}"
    path.unlink()
    NOT_FILES[what](path)
    found = store.survey()
    assert found.finished == set()
    assert f"{path}: not a result (it is not a file)" in found.damaged[TRIAL.id]
    readers = {
        "json": lambda: list(store.read()),
        "npz": lambda: store.images(TRIAL),
        "maps.npz": lambda: store.maps(TRIAL),
        "curves.npz": lambda: store.curves(TRIAL),
    }
    with pytest.raises(Damaged, match="it is not a file"):
        readers[suffix]()
    assert store.stamps().keys() == {TRIAL.id}
    if what == "a folder":
        with pytest.raises(UserError, match=rf"{path}' \(Is a directory\); fix this, and the same"):
            store.write(result())
    else:
        store.write(result())
        assert store.finished() == {TRIAL.id}


def test_a_result_without_its_scores_is_damage(store: Store) -> None:
    (store.trials / f"{TRIAL.id}.npz").unlink()
    assert f"{TRIAL.id}.npz is missing beside it" in store.survey().damaged[TRIAL.id]
    assert store.images(TRIAL) == {}
    with pytest.raises(Damaged, match=rf"{TRIAL.id}.npz is missing beside it"):
        store.scored(TRIAL)


@pytest.mark.parametrize("damage", FILES)
def test_a_damaged_record_is_one_line_and_its_trial_is_not_finished(
    store: Store, damage: str
) -> None:
    make, reason = FILES[damage]
    path = store.trials / f"{TRIAL.id}.json"
    path.write_bytes(make(json.loads(path.read_bytes())))
    with pytest.raises(Damaged, match=reason) as caught:
        list(store.read())
    assert str(caught.value).isprintable()
    assert str(path) in str(caught.value)
    assert store.finished() == set()
    assert store.survey().damaged == {TRIAL.id: str(caught.value)}
    store.write(result())
    assert store.finished() == {TRIAL.id}


@pytest.mark.parametrize("damage", ARRAYS)
def test_damaged_arrays_are_one_line_and_their_trial_is_not_finished(
    store: Store, damage: str
) -> None:
    data, reason = ARRAYS[damage]
    path = store.trials / f"{TRIAL.id}.npz"
    path.write_bytes(data)
    with pytest.raises(Damaged, match=reason) as caught:
        store.images(TRIAL)
    assert str(caught.value).isprintable()
    assert "allow_pickle" not in str(caught.value)
    assert store.finished() == set()
    store.write(result())
    assert store.finished() == {TRIAL.id}


@pytest.mark.parametrize("suffix", ["maps.npz", "curves.npz"])
def test_maps_and_curves_are_read_as_carefully(store: Store, suffix: str) -> None:
    path = store.trials / f"{TRIAL.id}.{suffix}"
    read = store.maps if suffix == "maps.npz" else store.curves
    whole = path.read_bytes()
    for data in (b"", whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(Damaged):
            read(TRIAL)
        assert store.finished() == set()
    for arrays in ({"loss": np.array(["a"])}, {"input": np.zeros(2), "map": np.zeros((1, 1, 1))}):
        np.savez(path, **arrays)
        with pytest.raises(Damaged):
            read(TRIAL)


def test_a_record_without_its_arrays_is_not_finished(store: Store) -> None:
    (store.trials / f"{TRIAL.id}.npz").unlink()
    assert store.finished() == set()
    assert len(list(store.read())) == 1


def test_a_record_that_is_older_than_a_field_is_read(store: Store) -> None:
    path = store.trials / f"{TRIAL.id}.json"
    content = json.loads(path.read_bytes())
    for name in ("shots", "shot_seed", "validation", "unified"):
        del content["trial"][name]
    del content["chosen"]
    path.write_text(json.dumps(content))
    (found,) = store.read()
    assert found == result(chosen={}, images={}, maps=None, curves={})


def test_a_record_under_another_name_is_not_counted_twice(store: Store) -> None:
    content = (store.trials / f"{TRIAL.id}.json").read_bytes()
    (store.trials / "copy.json").write_bytes(content)
    with pytest.raises(Damaged, match="its name is not the id of its trial"):
        list(store.read())
    assert store.finished() == {TRIAL.id}


def test_a_parameter_may_be_infinite(store: Store) -> None:
    model = replace(TRIAL.model, params={"limit": float("inf")})
    store.write(result(trial=replace(TRIAL, model=model)))
    assert len(store.finished()) == 2
