"""Stores results: for each trial one JSON file, and its arrays beside it, written atomically."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from adbench_harness.errors import UserError, clean, no_room, reason
from adbench_harness.results import reading
from adbench_harness.results.reading import SCHEMA
from adbench_harness.results.trial import Choice, Trial
from adbench_harness.types import RANGES, Metric, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from adbench_harness.results.fitted import Fitted
    from adbench_harness.results.maps import Maps

PROCESS = "process"
"""The stage of a failure that ended the trial's process."""
_ARRAYS = {"images": "npz", "maps": "maps.npz", "curves": "curves.npz"}
_FITTED = "safetensors"
_ROUNDING = 1e-6
_TRACEBACK = 20_000
"""Maximum number of stored characters of a traceback, from its beginning and its end."""


@dataclass(frozen=True)
class Failure:
    """What went wrong, where (``plan``, ``fit``, ``predict``, ...), and the traceback."""

    stage: str
    message: str
    traceback: str

    @classmethod
    def of(cls, stage: str, error: BaseException) -> Failure:
        """The failure of ``error``; its message names the type unless it is the harness's own."""
        trace = "".join(traceback.format_exception(error))
        if len(trace) > _TRACEBACK:
            trace = f"{trace[: _TRACEBACK // 2]}\n...\n{trace[-_TRACEBACK // 2 :]}"
        return cls(stage, reason(error), clean(trace))


@dataclass(frozen=True)
class Heading:
    """The heading of a metric in a table; ``types.Unit`` explains ``unit``."""

    title: str
    unit: Unit = "%"
    higher_is_better: bool = True

    @staticmethod
    def of(metric: Metric) -> Heading:
        """The heading of a metric: its title or, if it has none, its name."""
        return Heading(metric.title or metric.name, metric.unit, metric.higher_is_better)

    def allows(self, value: float) -> bool:
        """Whether a number of its unit may be ``value``, apart from rounding."""
        low, high = RANGES[self.unit]
        return low - _ROUNDING <= value <= high + _ROUNDING


@dataclass(frozen=True)
class Record:
    """A trial's outcome as its JSON file has it.

    ``metrics`` has fractions (AUROC ...) and costs by the name of their column; undefined ones are
    absent. ``columns`` has their headings, so that a table of them needs no plugin. ``intervals``
    has the ends of 95% confidence intervals of the metrics that have one. ``chosen`` has the values
    that the model's ``fit`` chose, by parameter.

    ``seconds_alone`` has the seconds of each stage as if the trial had run alone.
    ``seconds_shared`` has those that the run took since the previous result, including ``other``,
    so that they add up to the run's time.
    """

    trial: Trial
    status: Literal["ok", "failed"]
    metrics: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Heading] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seconds_alone: Mapping[str, float] = field(default_factory=dict)
    seconds_shared: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class TrialResult(Record):
    """A trial's outcome, with what it stores as arrays.

    ``images`` has arrays over the N test images, in the data set's order: ``path`` (relative to the
    data root), ``defect``, ``label`` (int8, -1 unknown), ``score`` (float32) and ``probability``
    (float32 [N, C]), whose classes are named in ``class``. Its ``validation`` (float32 [V]) has the
    scores of the held-out normal images. ``maps`` is present if the run kept the maps. ``curves``
    has what the training logged, in order. ``fitted`` is the content of the file with the fitted
    pipeline if the run kept the models (``fitted.encode``), else empty.
    """

    images: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    maps: Maps | None = None
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    fitted: bytes = field(default=b"", repr=False)

    @property
    def measured(self) -> bool:
        """Whether its test images were scored: of what followed, only metrics may have failed."""
        failed = (failure.stage for failure in self.failures)
        return self.status == "ok" or all(stage.startswith("metric ") for stage in failed)

    def refused(self, stage: str, error: BaseException) -> TrialResult:
        """What is left of a result that cannot be sent or stored: that it failed."""
        failed = replace(self, status="failed", failures=(Failure.of(stage, error),), metrics={})
        failed = replace(failed, columns={}, intervals={}, chosen={})
        return replace(failed, images={}, maps=None, curves={}, fitted=b"")

    @property
    def model(self) -> Choice:
        """The model as tables show it: with what its ``fit`` chose."""
        model = self.trial.model
        changed = tuple(dict.fromkeys((*model.changed, *self.chosen)))
        return replace(model, params={**model.params, **self.chosen}, changed=changed)


@dataclass(frozen=True)
class Survey:
    """Ids of the trials that succeeded, and of those that ended their process; damaged results.

    ``damaged`` has a line for each result that cannot be read, by the id of its trial.
    """

    finished: set[str]
    deadly: set[str]
    damaged: Mapping[str, str]


class Store:
    """A folder of results; writers need no lock, since each trial has its own files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trials = root / "trials"

    @classmethod
    def existing(cls, folder: str | Path) -> Store:
        """The results in ``folder``, or in that of a board; raises UserError if there are none."""
        board = (Path(folder) / "suite.toml").is_file()
        store = cls(Path(folder) / "results" if board else Path(folder))
        store._restore()
        if not store.trials.is_dir():
            raise UserError(f"no results in '{folder}'; run 'adbench run' first or name its folder")
        return store

    def make(self) -> None:
        """Make the folder; raises UserError if it cannot be made or written to."""
        self._restore()
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--out: '{self.trials}' cannot be made ({error.strerror}); name another folder"
            ) from None
        try:
            tempfile.TemporaryFile(dir=self.trials).close()
        except OSError as error:
            raise UserError(
                f"--out: '{self.trials}' cannot be written to ({error.strerror}); name another "
                "folder"
            ) from None

    def sweep(self) -> None:
        """Delete the temporary files that a killed run left behind."""
        for folder in (self.trials, self.root / "checkpoints"):
            for path in folder.glob("*.tmp"):
                path.unlink(missing_ok=True)

    def accept(self, new: Store, ids: Iterable[str]) -> None:
        """Replace all results by those of ``new`` with these ids; curves and maps are not kept."""
        fresh, old = self.root / "trials.new", self.root / "trials.old"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(parents=True)
            for name in (f"{id_}.{suffix}" for id_ in ids for suffix in ("json", "npz")):
                if (new.trials / name).exists():
                    shutil.copy(new.trials / name, fresh)
            shutil.rmtree(old, ignore_errors=True)
            if self.trials.is_dir():
                self.trials.rename(old)
            fresh.rename(self.trials)
        except OSError as error:
            step = "make room" if no_room(error) else "fix this"
            raise UserError(
                f"results cannot be accepted into '{self.root}' ({error.strerror}); {step}, and "
                "the same command goes on"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            self._restore()

    def _restore(self) -> None:
        """Finish, or take back, what a killed ``accept`` began."""
        old = self.root / "trials.old"
        if old.is_dir() and not self.trials.is_dir():
            with suppress(OSError):
                old.rename(self.trials)
        if self.trials.is_dir():
            shutil.rmtree(old, ignore_errors=True)

    def stamps(self) -> dict[str, int]:
        """When each stored result was written, by trial id, in nanoseconds."""
        return {path.stem: path.lstat().st_mtime_ns for path in self._files()}

    def stamp(self, trial_id: str) -> int | None:
        """When the trial's result was written; None if there is none."""
        try:
            return self._file(trial_id, "json").lstat().st_mtime_ns
        except FileNotFoundError:
            return None

    def write(self, result: TrialResult) -> None:
        """Store ``result``: arrays first, so that a JSON file is never without them.

        The time that this takes is added to ``seconds_shared`` as ``store``. Raises UserError if
        there is no room.
        """
        try:
            self._write(result)
        except OSError as error:
            step = "make room" if no_room(error) else "fix this"
            raise UserError(
                f"a result cannot be written to '{error.filename2 or self.trials}' "
                f"({error.strerror or error}); {step}, and the same command goes on"
            ) from error

    def _write(self, result: TrialResult) -> None:
        import numpy as np

        from adbench_harness.results.maps import encode

        start = time.perf_counter()
        self.trials.mkdir(parents=True, exist_ok=True)
        maps = encode(result.maps) if result.maps else {}
        stored: dict[str, Mapping[str, Any]] = {
            "images": result.images,
            "maps": maps,
            "curves": result.curves,
        }
        owner: dict[str, Any] = {reading.OWNER: result.trial.id}
        for name, arrays in stored.items():
            path = self._file(result.trial.id, _ARRAYS[name])
            if arrays:
                with _atomic(path) as file:
                    np.savez_compressed(file, **arrays, **owner)
            else:
                path.unlink(missing_ok=True)
        path = self._file(result.trial.id, _FITTED)
        if result.fitted:
            with _atomic(path) as file:
                file.write(result.fitted)
        else:
            path.unlink(missing_ok=True)
        digest = {"fitted": hashlib.sha256(result.fitted).hexdigest()} if result.fitted else {}
        # A path on this machine does not belong in a result.
        weights = tuple(replace(used, path=None) for used in result.trial.weights)
        plain = replace(
            result,
            trial=replace(result.trial, weights=weights),
            provenance={**result.provenance, **digest},
            metrics=_finite(result.metrics),
            intervals={n: i for n, i in result.intervals.items() if all(map(math.isfinite, i))},
            seconds_shared=result.seconds_shared
            and {**result.seconds_shared, "store": time.perf_counter() - start},
            images={},
            maps=None,
            curves={},
            fitted=b"",
        )
        own = {one.name for one in fields(Record)}
        content = {key: value for key, value in asdict(plain).items() if key in own}
        with _atomic(self._file(result.trial.id, "json")) as file:
            text = json.dumps({"schema": SCHEMA, "id": result.trial.id, **content}, indent=1)
            file.write(f"{text}\n".encode())

    def survey(self) -> Survey:
        """What is stored, and what of it cannot be read. Raises UserError for another schema."""
        finished, deadly, damaged = set(), set(), {}
        for path in self._files():
            try:
                found = self._record(path)
                if found.status == "ok":
                    self.scored(found.trial)
                reading.check(self._file(found.trial.id, _ARRAYS["maps"]))
                reading.check(self._file(found.trial.id, _ARRAYS["curves"]))
            except reading.Damaged as error:
                damaged[path.stem] = str(error)
                continue
            if found.status == "ok":
                finished.add(found.trial.id)
            if any(failure.stage == PROCESS for failure in found.failures):
                deadly.add(found.trial.id)
        return Survey(finished, deadly, damaged)

    def finished(self) -> set[str]:
        """Ids of the trials that succeeded and can be read; the others are run again."""
        return self.survey().finished

    def read(self) -> Iterator[TrialResult]:
        """Every stored result, without its arrays, in the order of file names.

        Raises UserError for the first file that is not a result.
        """
        return map(_whole, map(self._record, self._files()))

    def result(self, trial_id: str) -> TrialResult:
        """The stored result of a trial, without its arrays. Raises UserError."""
        return _whole(self._record(self._file(trial_id, "json")))

    def _files(self) -> list[Path]:
        """The records. Raises UserError if the folder cannot be read: it is not empty."""
        try:
            return sorted(path for path in self.trials.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(
                f"'{self.trials}' cannot be read ({error.strerror}); correct its permissions, or "
                "name another folder"
            ) from None

    def _record(self, path: Path) -> Record:
        found = reading.record(path)
        if found.trial.id != path.stem:
            raise reading.Damaged(path, "its name is not the id of its trial")
        return found

    def curves(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """What the training of a trial logged; empty if it logged nothing. Raises UserError."""
        return reading.curves(self._file(trial.id, _ARRAYS["curves"]), trial.id)

    def images(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """The per-image arrays of a stored trial. Raises UserError."""
        return reading.images(self._file(trial.id, _ARRAYS["images"]), trial.id)

    def has_maps(self, trial: Trial) -> bool:
        """Whether the maps of a trial are stored."""
        return self._file(trial.id, _ARRAYS["maps"]).exists()

    def scored(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """The per-image arrays of a trial that succeeded. Raises UserError, also without them."""
        if not (found := self.images(trial)):
            missing = self._file(trial.id, _ARRAYS["images"]).name
            raise reading.Damaged(self._file(trial.id, "json"), f"{missing} is missing beside it")
        return found

    def maps(self, trial: Trial) -> Maps | None:
        """The maps of a trial that was run with ``--keep-maps``, else None. Raises UserError."""
        return reading.maps(self._file(trial.id, _ARRAYS["maps"]), trial.id)

    def has_fitted(self, trial: Trial) -> bool:
        """Whether the fitted pipeline of a trial is stored."""
        return self._file(trial.id, _FITTED).exists()

    def fitted(self, result: TrialResult) -> Fitted | None:
        """The pipeline of a result that was run with ``--keep-models``, else None.

        Raises UserError, also if the file is not the one that the run wrote.
        """
        digest = str(result.provenance.get("fitted", ""))
        return reading.fitted(self._file(result.trial.id, _FITTED), digest)

    def _file(self, trial_id: str, suffix: str) -> Path:
        return self.trials / f"{trial_id}.{suffix}"


def read_file(path: Path) -> TrialResult:
    """One stored result, with its images' arrays if they are beside it; raises UserError."""
    if not path.is_file():
        raise UserError(f"'{path}' cannot be read (it is not a file); name a result")
    found = _whole(reading.record(path))
    images = reading.images(path.with_suffix(f".{_ARRAYS['images']}"), found.trial.id)
    return replace(found, images=images)


def _whole(record: Record) -> TrialResult:
    """The result of a record, without its arrays."""
    return TrialResult(**{one.name: getattr(record, one.name) for one in fields(record)})


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leave out undefined metrics: JSON has no NaN, and an average must not hide one."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


class _atomic:  # noqa: N801  # used like a function
    """A file that appears under its name only when it is complete and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> IO[bytes]:
        handle, self._temporary = tempfile.mkstemp(dir=self._path.parent, suffix=".tmp")
        self._file = os.fdopen(handle, "wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._file:
                if kind is not None:
                    return
                # mkstemp makes files private; results are for everyone who may read the folder.
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(self._temporary, 0o666 & ~umask)
                self._file.flush()
                os.fsync(self._file.fileno())
            os.replace(self._temporary, self._path)
            _sync(self._path.parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)


def _sync(folder: Path) -> None:
    """Write a folder's entries to the disk, where the system can do so."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(handle)
    finally:
        os.close(handle)
