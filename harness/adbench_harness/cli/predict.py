"""``adbench predict``: scores new images with the pipeline of a row."""

from __future__ import annotations

import argparse
import glob
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options, output, row, scores, verdict
from adbench_harness.errors import UserError
from adbench_harness.results import scratch
from adbench_harness.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from adbench_harness.results.store import Store
    from adbench_harness.running.predicting import Prediction, Predictor
    from adbench_harness.types import InputSpec

SUMMARY = "Score new images with a row of the board; exit 1: an image could not be scored."
_SAMPLE = 4096
"""Scores of each map from which the colours of heat maps are found."""


def arguments(parser: argparse.ArgumentParser) -> None:
    row.arguments(parser)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image files, folders of images, or patterns"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="CSV file to write; else to stdout")
    parser.add_argument("--maps", metavar="DIR", help="write each anomaly map as a TIFF of floats")
    parser.add_argument("--heatmaps", metavar="DIR", help="write each map in colour over its image")
    verdict.arguments(parser)
    options.add_plugins(parser)
    options.add_locations(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")


def _check_outputs(paths: list[Path], store: Store, given: argparse.Namespace) -> None:
    """Raise UserError for an output that would replace what is needed, or cannot be written."""
    places = _places(paths)
    folders = [Path(given.output).parent] if given.output else []
    written = [Path(given.output)] if given.output else []
    for folder, suffix in ((given.maps, "tiff"), (given.heatmaps, "png")):
        if folder:
            folders.append(Path(folder))
            written += [Path(folder) / f"{place}.{suffix}" for place in places]
    images = {os.path.realpath(path): path for path in paths}
    for path in written:
        output.check_outside(path, store)
        if (image := images.get(os.path.realpath(path))) is not None:
            raise UserError(f"'{path}' would replace the image '{image}'; name another place")
    for folder in folders:
        with output.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


def handle(given: argparse.Namespace) -> int:
    verdict.check(given)
    from adbench_harness.display import Display
    from adbench_harness.results.store import Store

    paths = [path for item in given.images for path in files(item)]
    store = Store.existing(given.results)
    _check_outputs(paths, store, given)
    stored = row.chosen(store, given)
    threshold = verdict.threshold(store, stored, given)
    with Display().stages() as progress:
        predictor = row.fitted(store, stored, given, given.device, progress)
        found = predictor.predict(paths, lambda done, total: progress("images", done, total))
        text, failed, odd = _write(found, paths, predictor, threshold, given)
    if not given.output:
        print(text, end="")
    said = [f"{counted(len(paths) - failed, 'image')} scored by {stored.trial.title}"]
    if failed:
        said.append(f"{failed} could not be scored, see the column 'error'")
    options.tell("; ".join(said) + (f": {given.output}" if given.output else ""))
    if odd:
        options.tell(_unlike(odd, len(paths) - failed, predictor))
    if predictor.spread:
        options.tell(
            f"{stored.trial.model.name} draws random numbers for each image, so its scores differ "
            f"from the run's: drawn again, that of the first image moves by {predictor.spread:.1%}"
        )
    return int(bool(failed))


def _unlike(odd: list[Prediction], scored: int, predictor: Predictor) -> str:
    """A sentence about images of sizes that no training image has."""
    (low, high), (narrow, wide) = predictor.heights, predictor.widths
    sizes = f"{narrow} x {low} px"
    if (low, narrow) != (high, wide):
        sizes += f" to {wide} x {high} px"
    height, width = odd[0].size
    return (
        f"{len(odd)} of {counted(scored, 'image')} {'is' if len(odd) == 1 else 'are'} smaller or "
        f"larger than the training images ({sizes}), such as {odd[0].path} ({width} x {height} "
        "px): nothing was measured on such images"
    )


def files(item: str) -> list[Path]:
    """The images that an argument names, in order."""
    from adbench_harness.datasets import layout

    path = Path(item).expanduser()
    if path.is_dir():
        found = layout.nested(path)
        for note in layout.not_images(path):
            options.tell(note)
    elif path.exists():
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        found = [one for one in found if one.is_file()]
    if not found:
        raise UserError(f"'{item}': no image was found; name an image, a folder or a pattern")
    return found


def _write(
    found: Iterator[Prediction],
    paths: list[Path],
    predictor: Predictor,
    threshold: float | None,
    given: argparse.Namespace,
) -> tuple[str, int, list[Prediction]]:
    """Write what was asked for.

    Returns the CSV, the number of images that failed, and the predictions, without their maps, of
    images of sizes that no training image has.
    """
    import pandas as pd

    from adbench_harness.leaderboard.spreadsheet import csv

    spec = predictor.input
    lines: list[dict[str, Any]] = []
    odd: list[Prediction] = []
    mapped = False
    with scratch.folder("adbench-heatmaps-") as folder:
        heat = _HeatMaps(folder, spec, predictor.depth)
        for place, one in zip(_places(paths), found, strict=True):
            said = ""
            if one.score is not None and threshold is not None:
                said = "anomalous" if one.score > threshold else "normal"
            cells = {"score": one.score, "class": one.defect, "verdict": said}
            lines.append({"image": str(one.path), **cells, "error": one.error})
            if not one.error and not predictor.trained_on(one.size):
                odd.append(replace(one, map=None))
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
    table = pd.DataFrame(lines).astype({"score": float})
    # Most rows score and do not classify.
    unused = "score" if table["score"].isna().all() and table["class"].ne("").any() else "class"
    text = csv(table.drop(columns=unused), index=False)
    if given.output:
        output.write(Path(given.output), text)
    return text, sum(bool(line["error"]) for line in lines), odd


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
