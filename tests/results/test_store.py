from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import traceback
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adbench_harness.errors import ContractError, UserError
from adbench_harness.results.maps import encode
from adbench_harness.results.store import SCHEMA, Failure, Store
from stored import CURVES, IMAGES, MAPS, TRIAL, result


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return set(found) == set(wanted) and all(
        np.array_equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype
        for name in wanted
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_no_path_of_this_machine_is_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    here = replace(TRIAL, weights=(replace(TRIAL.weights[0], path="/here.pth"),))
    store.write(result(trial=here))
    (file,) = store.trials.glob("*.json")
    assert "/here.pth" not in file.read_text()
    assert store.finished() == {here.id}


def test_everything_comes_back(store: Store) -> None:
    failed = result(
        trial=replace(TRIAL, seed=4),
        status="failed",
        failures=(Failure("fit", "no", "Traceback\n é"), Failure("cost", "no", "")),
        images={},
        maps=None,
        curves={},
    )
    store.write(result())
    store.write(failed)
    found = {one.trial.seed: one for one in store.read()}
    assert found[3] == result(images={}, maps=None, curves={})
    assert found[4] == failed
    assert same(store.images(TRIAL), IMAGES)
    assert same(encode(store.maps(TRIAL)), encode(MAPS))
    assert same(store.curves(TRIAL), CURVES)
    assert store.images(failed.trial) == {}
    assert store.maps(failed.trial) is None


def test_a_result_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(result(), "status", "failed")  # noqa: B010  # mypy knows that it cannot


def test_only_what_succeeded_is_finished(store: Store) -> None:
    assert store.finished() == set()
    assert list(store.read()) == []
    store.write(result())
    store.write(result(trial=replace(TRIAL, seed=4), status="failed"))
    assert store.finished() == {TRIAL.id}


def test_the_time_to_store_is_told_where_time_is(store: Store) -> None:
    store.write(result(seconds_shared={"fit": 1.0, "other": 0.5}))
    (found,) = store.read()
    assert found.seconds_shared.keys() == {"fit", "other", "store"}
    assert 0 < found.seconds_shared["store"] < 10


def test_undefined_metrics_are_absent(store: Store) -> None:
    metrics = {"a": math.nan, "b": 0.5, "c": math.inf, "d": np.float32(0.25), "e": 0}
    intervals = {"a": (math.nan, math.nan), "b": (0.25, 0.75)}
    store.write(result(metrics=metrics, intervals=intervals))
    (found,) = store.read()
    assert found.intervals == {"b": (0.25, 0.75)}
    assert found.metrics == {"b": 0.5, "d": 0.25, "e": 0.0}
    text = next(store.trials.glob("*.json")).read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_a_file_says_its_schema_and_its_id(store: Store) -> None:
    store.write(result())
    path = store.trials / f"{TRIAL.id}.json"
    content = json.loads(path.read_text())
    assert (content["schema"], content["id"]) == (2, TRIAL.id)  # another number is another format
    assert {p.name for p in store.trials.iterdir()} == {
        f"{TRIAL.id}{suffix}" for suffix in (".json", ".npz", ".maps.npz", ".curves.npz")
    }
    # Results are for everyone who may read the folder.
    plain = store.trials / "plain"
    plain.touch()
    for written in store.trials.iterdir():
        assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_second_run_replaces_all_of_the_first(store: Store) -> None:
    store.write(result())
    store.write(result(status="failed", images={}, maps=None, curves={}, metrics={}))
    (found,) = store.read()
    assert found.status == "failed"
    assert store.images(TRIAL) == {}
    assert store.maps(TRIAL) is None
    assert store.curves(TRIAL) == {}


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, "1", None])
def test_another_schema_is_refused(store: Store, schema: Any) -> None:
    store.write(result())
    path = store.trials / f"{TRIAL.id}.json"
    content = {**json.loads(path.read_text()), "schema": schema}
    path.write_text(json.dumps(content))
    for read in (lambda: list(store.read()), store.finished, store.survey):
        with pytest.raises(UserError, match=f"{TRIAL.id}.json: written by another version"):
            read()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("'a.png' is cut off"), "'a.png' is cut off"),
        (ContractError("no scores"), "no scores"),
        (ValueError("too few"), "ValueError: too few"),
    ],
)
def test_only_the_class_of_a_foreign_error_is_named(error: Exception, said: str) -> None:
    assert Failure.of("fit", error).message == said


@pytest.mark.parametrize("length", [10, 100_000])
def test_of_a_long_traceback_the_beginning_and_the_end_are_kept(length: int) -> None:
    error = ValueError("".join(chr(ord("a") + i % 26) for i in range(length)))
    whole = "".join(traceback.format_exception(error))
    found = Failure.of("fit", error)
    assert found.stage == "fit"
    assert found.message.startswith("ValueError: abc")
    if len(whole) <= 20_000:
        assert found.traceback == whole
    else:
        assert found.traceback == f"{whole[:10_000]}\n...\n{whole[-10_000:]}"


# ---------------------------------------------------------------- atomicity

WRITER = """
import os, sys
from pathlib import Path
import stored
from adbench_harness.results.maps import Maps, encode
from adbench_harness.results.store import Store
store = Store(Path(sys.argv[1]))
"""


def child(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER + body, str(tmp_path / "results")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.parametrize("moment", ["np.savez_compressed", "json.dumps", "os.replace"])
def test_a_writer_that_dies_half_way_leaves_the_last_result(
    store: Store, tmp_path: Path, moment: str
) -> None:
    store.write(result(maps=None, curves={}))
    module, _, name = moment.partition(".")
    die = child(
        tmp_path,
        f"import json, numpy as np\n{module}.{name} = lambda *_, **__: os._exit(9)\n"
        "store.write(stored.result(status='failed', metrics={}))",
    )
    assert die.wait() == 9
    (found,) = store.read()
    assert found == result(images={}, maps=None, curves={})
    assert same(store.images(TRIAL), IMAGES)


def test_a_writer_that_is_killed_leaves_whole_files(store: Store, tmp_path: Path) -> None:
    writer = child(
        tmp_path,
        "import itertools, numpy as np\n"
        "from dataclasses import replace\n"
        "scores = np.random.default_rng(0).random(200_000)\n"
        "labels, names = np.zeros(len(scores), np.int8), np.full(len(scores), 'a')\n"
        "big = {'score': scores, 'label': labels, 'path': names, 'defect': names}\n"
        "for seed in itertools.count():\n"
        "    trial = replace(stored.TRIAL, seed=seed % 5)\n"
        "    store.write(stored.result(trial=trial, images=big, maps=None, curves={}))\n"
        "    print(seed, flush=True)\n",
    )
    assert writer.stdout is not None
    for _ in range(7):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    found = list(store.read())
    assert len(found) >= 5
    for one in found:
        assert len(store.images(one.trial)["score"]) == 200_000


def test_a_reader_never_sees_half_a_file(store: Store, tmp_path: Path) -> None:
    body = (
        "from dataclasses import replace\n"
        "for seed in range(60):\n"
        "    trial = replace(stored.TRIAL, seed=seed % 6)\n"
        "    store.write(stored.result(trial=trial))\n"
    )
    writers = [child(tmp_path, body) for _ in range(3)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        for one in store.read():
            assert same(store.images(one.trial), IMAGES)
            assert same(encode(store.maps(one.trial)), encode(MAPS))
            seen += 1
    for writer in writers:
        assert writer.wait() == 0
        assert writer.stdout is not None
        writer.stdout.close()
    assert seen
    assert {one.trial.seed for one in store.read()} == set(range(6))
    assert not list(store.trials.glob("*.tmp"))


def test_a_failed_write_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError):
        store.write(result(provenance={"device": object()}, images={}, maps=None, curves={}))
    assert list(store.trials.iterdir()) == []


def test_a_folder_without_results_is_refused_where_results_are_needed(
    store: Store, tmp_path: Path
) -> None:
    store.write(result())
    assert list(Store.existing(str(store.root)).read())
    with pytest.raises(UserError, match=r"no results in '.*none'; run 'adbench run' first"):
        Store.existing(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_read_is_not_empty(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(result())

    def forbidden(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    for read in (store.read, store.finished, store.survey, store.stamps):
        with pytest.raises(UserError, match=r"trials' cannot be read \(Permission denied\)"):
            read()


def test_what_a_killed_accept_left_is_put_right_before_a_run(store: Store) -> None:
    store.write(result())
    store.trials.rename(store.root / "trials.old")
    store.make()
    assert store.finished() == {TRIAL.id}


def test_a_folder_is_made_only_where_it_can_be_written_to(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "results")
    store.make()
    store.make()
    assert list(store.trials.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out: '.*trials' cannot be made \(Not a directory\)"):
        Store(tmp_path / "file").make()
    (tmp_path / "trials").symlink_to("/proc")  # where not even root may write
    with pytest.raises(UserError, match=r"--out: '.*trials' cannot be written to \("):
        Store(tmp_path).make()


def other(tmp_path: Path) -> Store:
    found = Store(tmp_path / "new")
    found.write(result(metrics={"image_auroc": 0.9}))
    return found


def test_there_are_accepted_results_at_every_moment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(result())
    new, moments = other(tmp_path), []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        done = rename(path, target)
        moments.append({place.name for place in store.root.iterdir()})
        # What a process that is killed here leaves is put right by whoever reads it next.
        left = Path(shutil.copytree(store.root, tmp_path / f"left{len(moments)}"))
        monkeypatch.setattr(Path, "rename", rename)
        assert len(list(Store.existing(left).read())) == 1
        assert not (left / "trials.old").exists()
        monkeypatch.setattr(Path, "rename", watched)
        return done

    monkeypatch.setattr(Path, "rename", watched)
    store.accept(new, [TRIAL.id])
    assert moments == [{"trials.old", "trials.new"}, {"trials.old", "trials"}]
    assert {place.name for place in store.root.iterdir()} == {"trials"}
    assert next(store.read()).metrics == {"image_auroc": 0.9}


def test_what_cannot_be_accepted_leaves_what_was(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(result())
    new = other(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copy", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room, and the same comm"):
        store.accept(new, [TRIAL.id])
    assert {place.name for place in store.root.iterdir()} == {"trials"}
    assert next(store.read()).metrics == result().metrics


def test_a_disk_that_fills_while_a_result_is_written_leaves_no_part(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room, and the same comm"):
        store.write(result())
    assert list(store.trials.iterdir()) == []
