"""``adbench predict``: scores new images with the pipeline of a row."""

from __future__ import annotations

import argparse
import glob
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options, output, scores
from adbench_harness.errors import UserError, nearest
from adbench_harness.results import scratch
from adbench_harness.results.trial import NOT_KEPT
from adbench_harness.wording import counted, duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from adbench_harness.results.store import Store, TrialResult
    from adbench_harness.running.predicting import Prediction, Predictor
    from adbench_harness.types import InputSpec

SUMMARY = "Score new images with a row of the board; exit 1: an image could not be scored."
BEST = "best-f1"
_SAMPLE = 4096
"""Scores of each map from which the colours of heat maps are found."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_row(parser)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image files, folders of images, or patterns"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="CSV file to write; else to stdout")
    parser.add_argument("--maps", metavar="DIR", help="write each anomaly map as a TIFF of floats")
    parser.add_argument("--heatmaps", metavar="DIR", help="write each map in colour over its image")
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--threshold",
        metavar="SCORE",
        help=f"images with higher scores are anomalous; {BEST}: the best F1 on the test images",
    )
    level.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="threshold that this share of held-out normal images exceeds (default 0.01)",
    )
    options.add_plugins(parser)
    options.add_locations(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")


def _check_outputs(paths: list[Path], given: argparse.Namespace) -> None:
    """Raise UserError for an output that would replace an image, or that cannot be written."""
    places = _places(paths)
    folders = [Path(given.output).parent] if given.output else []
    written = [Path(given.output)] if given.output else []
    for folder, suffix in ((given.maps, "tiff"), (given.heatmaps, "png")):
        if folder:
            folders.append(Path(folder))
            written += [Path(folder) / f"{place}.{suffix}" for place in places]
    images = {os.path.realpath(path): path for path in paths}
    for path in written:
        if (image := images.get(os.path.realpath(path))) is not None:
            raise UserError(f"'{path}' would replace the image '{image}'; name another place")
    for folder in folders:
        with output.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


def add_row(parser: argparse.ArgumentParser) -> None:
    """The results, and which row of them."""
    parser.add_argument("results", help="folder of results, or a board")
    parser.add_argument(
        "--row",
        metavar="METHOD",
        help="row of the board, or its model; needed for several",
    )
    options.add_only(parser)


def handle(given: argparse.Namespace) -> int:
    if given.false_alarms is not None and not 0 <= given.false_alarms < 1:
        raise UserError(f"--false-alarms {given.false_alarms:g}: write a share from 0 to below 1")
    paths = [path for item in given.images for path in files(item)]
    _check_outputs(paths, given)
    from adbench_harness.display import Display
    from adbench_harness.results.store import Store

    store = Store.existing(given.results)
    stored = _chosen(store, given)
    threshold = _threshold(store, stored, given)
    with Display().stages() as progress:
        predictor = _fitted(store, stored, given, given.device, progress)
        found = predictor.predict(paths, lambda done, total: progress("images", done, total))
        text, failed = _write(found, paths, predictor, threshold, given)
    if not given.output:
        print(text, end="")
    said = [f"{counted(len(paths), 'image')} scored by {stored.trial.title}"]
    if failed:
        said.append(f"{failed} could not be scored, see the column 'error'")
    options.tell("; ".join(said) + (f": {given.output}" if given.output else ""))
    return int(bool(failed))


def loaded(given: argparse.Namespace, device: str) -> tuple[TrialResult, Predictor]:
    """The result that the options of ``add_row`` select, and its pipeline."""
    from adbench_harness.display import Display
    from adbench_harness.results.store import Store

    store = Store.existing(given.results)
    stored = _chosen(store, given)
    with Display().stages() as progress:
        return stored, _fitted(store, stored, given, device, progress)


def _fitted(
    store: Store,
    stored: TrialResult,
    given: argparse.Namespace,
    device: str,
    progress: Callable[[str, int, int], None],
) -> Predictor:
    """The pipeline that was kept, or fitted again."""
    from adbench_harness import session
    from adbench_harness.planning import grammar

    kept = store.fitted(stored)
    notes = stored.provenance.get("notes", ())
    if kept is None and (why := [note for note in notes if note.startswith(NOT_KEPT)]):
        raise UserError(f"{stored.trial.title}: {why[0]}")
    if kept is None:
        options.tell(
            f"no fitted model of {stored.trial.title} was kept, so it is fitted again; run with "
            "--keep-models to save this time"
        )
    elif "fit_seconds" in stored.metrics:
        options.tell(f"the kept model saves {duration(stored.metrics['fit_seconds'])} of fitting")
    return session.predictor(
        stored,
        kept,
        options.locations(given),
        plugins=grammar.names(given.plugins or ""),
        device=device,
        progress=progress,
    )


def files(item: str) -> list[Path]:
    """The images that an argument names, in order."""
    from adbench_harness.datasets import layout

    path = Path(item).expanduser()
    if path.is_dir():
        found = layout.nested(path)
    elif path.exists():
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        found = [one for one in found if one.is_file()]
    if not found:
        raise UserError(f"'{item}': no image was found; name an image, a folder or a pattern")
    return found


def _chosen(store: Store, given: argparse.Namespace) -> TrialResult:
    """The result that ``--row`` and ``--only`` select; raises UserError unless it is one."""
    from adbench_harness.leaderboard.scores import columns

    results = list(store.read())
    rows = columns(results, options.pairs(given.only))
    if given.row:
        names = [results[int(str(i))].trial.model.name for i in rows.index]
        chosen = rows[rows["row"].eq(given.row) | rows["title"].eq(given.row)]
        if chosen.empty:
            chosen = rows[[name == given.row for name in names]]
        if chosen.empty:
            known = list(dict.fromkeys([*rows["row"], *names]))
            raise UserError(
                f"--row '{given.row}': no row that ran has this method{nearest(given.row, known)}; "
                f"choose from {', '.join(dict.fromkeys(rows['row']))}"
            )
        rows = chosen
    if rows.empty:
        raise UserError(f"no result in '{store.root}' ran without an error; run the suite again")
    if len(rows) > 1:
        raise UserError(_which(rows))
    return results[int(str(rows.index[0]))]


def _which(rows: Any) -> str:
    """What is needed to select one of several trials."""
    from adbench_harness.leaderboard.scores import REPEATS

    known = list(dict.fromkeys(rows["row"]))
    start = f"{len(rows)} trials are selected"
    if len(known) > 1:
        return f"{start}; name one row with --row: {', '.join(known)}"
    for column in ("dataset", "category", *REPEATS):
        if rows[column].nunique() > 1:
            values = ", ".join(map(str, sorted(rows[column].unique())))
            return f"{start}; name one with --only {column}=VALUE: {values}"
    return f"{start}; name one with --only"


def _threshold(store: Store, stored: TrialResult, given: argparse.Namespace) -> float | None:
    """The score above which an image is anomalous; None if nothing tells it."""
    from adbench_harness.results import threshold

    images = store.images(stored.trial)
    if "score" not in images:
        if given.threshold is not None or given.false_alarms is not None:
            raise UserError(f"{stored.trial.title} gives no image scores, so it has no threshold")
        return None
    if given.threshold == BEST:
        return _best_f1(images, stored)
    if given.threshold is not None:
        try:
            level = float(given.threshold)
        except ValueError:
            level = math.nan
        if not math.isfinite(level):
            raise UserError(f"--threshold '{given.threshold}' is not a score or {BEST}")
        return level
    held_out = images.get("validation")
    if held_out is None or not len(held_out):
        if given.false_alarms is not None:
            raise UserError(
                f"--false-alarms: {stored.trial.title} held out no normal images; run it with "
                "--validation 0.2, or give --threshold"
            )
        options.tell(
            "no verdicts: the run held out no normal images; run with --validation 0.2, or give "
            "--threshold"
        )
        return None
    rate = 0.01 if given.false_alarms is None else given.false_alarms
    level = threshold.of_false_alarms(held_out, rate)
    few = f"; {len(held_out)} images cannot show a lower rate than {1 / len(held_out):.1%}"
    options.tell(
        f"threshold {level:.6g}: at most {rate:.4g} of {len(held_out)} held-out normal images "
        f"have a higher score{few if rate * len(held_out) < 1 else ''}"
    )
    return level


def _best_f1(images: Mapping[str, NDArray[Any]], stored: TrialResult) -> float:
    from adbench_harness.results import threshold

    known = images["label"] >= 0
    if len(set(images["label"][known].tolist())) < 2:
        raise UserError(
            f"--threshold {BEST}: the test images of {stored.trial.title} are not both normal and "
            "anomalous; give a score"
        )
    level = threshold.of_best_f1(images["score"][known], images["label"][known])
    options.tell(
        f"threshold {level:.6g}: the best F1 on the test images, which were used to choose it, so "
        "verdicts on new images will be worse"
    )
    return level


def _write(
    found: Iterator[Prediction],
    paths: list[Path],
    predictor: Predictor,
    threshold: float | None,
    given: argparse.Namespace,
) -> tuple[str, int]:
    """Write what was asked for; returns the CSV, and the number of images that failed."""
    import pandas as pd

    from adbench_harness.leaderboard.spreadsheet import csv

    spec = predictor.input
    rows: list[dict[str, Any]] = []
    mapped = False
    with scratch.folder("adbench-heatmaps-") as folder:
        heat = _HeatMaps(folder, spec, predictor.depth)
        for place, one in zip(_places(paths), found, strict=True):
            verdict = ""
            if one.score is not None and threshold is not None:
                verdict = "anomalous" if one.score > threshold else "normal"
            cells = {"score": one.score, "class": one.defect, "verdict": verdict}
            rows.append({"image": str(one.path), **cells, "error": one.error})
            mapped |= one.map is not None
            if one.map is not None and given.maps:
                target = Path(given.maps) / f"{place}.tiff"
                with output.writing(target):
                    scores.write_map(target, one.map, one.size, spec)
            if one.map is not None and given.heatmaps:
                heat.add(Path(given.heatmaps) / f"{place}.png", one)
        heat.write()
    if (given.heatmaps or given.maps) and not mapped:
        options.tell("no map was written: the row gives none")
    table = pd.DataFrame(rows).astype({"score": float})
    # Most rows score and do not classify.
    unused = "score" if table["score"].isna().all() and table["class"].ne("").any() else "class"
    text = csv(table.drop(columns=unused), index=False)
    if given.output:
        output.write(Path(given.output), text)
    return text, sum(bool(row["error"]) for row in rows)


def _places(paths: list[Path]) -> list[str]:
    """A file's name for each image, below their common folder; without suffix if that is unique."""
    full = [Path(os.path.abspath(path)) for path in paths]
    base = os.path.commonpath([path.parent for path in full])
    names = [path.relative_to(base) for path in full]
    short = Counter(name.with_suffix("") for name in names)
    return [str(n if short[n.with_suffix("")] > 1 else n.with_suffix("")) for n in names]


class _HeatMaps:
    """Heat maps with one scale for all; until it is known, maps wait in ``folder``."""

    def __init__(self, folder: Path, spec: InputSpec, depth: int) -> None:
        self.files: list[tuple[Path, Path]] = []
        self._folder = folder
        self._spec = spec
        self._depth = depth
        self._sample: list[NDArray[np.float32]] = []

    def add(self, target: Path, one: Prediction) -> None:
        import numpy as np

        assert one.map is not None
        np.save(self._folder / f"{len(self.files)}.npy", one.map)
        self.files.append((target, one.path))
        values = one.map.ravel()
        ends = np.array([values.min(), values.max()], np.float32)
        chosen = np.linspace(0, len(values) - 1, _SAMPLE).astype(int)
        self._sample.append(np.concatenate([values[chosen], ends])[None])

    def write(self) -> None:
        if not self.files:
            return
        import cv2
        import numpy as np

        from adbench_harness.images import decoding
        from adbench_harness.report.thumbnails import Scale, coloured
        from adbench_harness.results.maps import Maps

        scale = Scale.of(Maps(np.stack(self._sample), self._spec))
        for number, (target, path) in enumerate(self.files):
            values = np.load(self._folder / f"{number}.npy", allow_pickle=False)
            drawn = coloured(decoding.decode(path, self._depth), values, self._spec, scale)
            _, content = cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            output.write(target, content.tobytes())
