"""``adbench scores``: writes the score of each image, and the maps as files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options, output
from adbench_harness.errors import UserError
from adbench_harness.results import scratch
from adbench_harness.wording import counted

if TYPE_CHECKING:
    from adbench_harness.results.store import Store, TrialResult

SUMMARY = "Write each image's scores as CSV, and the anomaly maps as TIFF files."
MAPS = "anomaly_images"
"""The folder of a row's maps, as MVTec's server for MVTec AD 2 names it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="CSV file to write")
    parser.add_argument(
        "--maps",
        metavar="DIR",
        help=f"write the stored maps as ROW/{MAPS}/IMAGE.tiff, at the size of the images",
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(16, 32),
        default=32,
        help="bits of a map's floats (default 32; the server of MVTec AD 2 takes 16)",
    )
    options.add_only(parser)
    options.add_data(parser)
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    if not (given.output or given.maps):
        raise UserError("scores needs -o FILE for the scores, --maps DIR for the maps, or both")
    from adbench_harness.results.store import Store

    store = Store.existing(given.results)
    results = list(store.read())
    only = options.pairs(given.only)
    if given.output:
        _write_scores(Path(given.output), results, store, only)
    if given.maps:
        _write_maps(Path(given.maps), given, results, store, only)
    return 0


def _write_scores(
    path: Path, results: list[TrialResult], store: Store, only: dict[str, str]
) -> None:
    from adbench_harness.leaderboard import scores
    from adbench_harness.leaderboard.spreadsheet import csv

    table, rows, without = scores.table(results, store, only)
    if without:
        options.tell(f"no image scores, left out: {', '.join(without)}")
    output.write(path, csv(table))
    columns = counted(len(table.columns), "column")
    print(
        f"{counted(len(table), 'image')}, {columns} of scores from {counted(rows, 'row')} of the "
        f"board: {path}"
    )


def _write_maps(
    folder: Path,
    given: argparse.Namespace,
    results: list[TrialResult],
    store: Store,
    only: dict[str, str],
) -> None:
    from adbench_harness.leaderboard import scores
    from adbench_harness.running.images import TrialImages

    locations = options.data_locations(given)
    catalogue = options.recorded(given, results)
    locations.check(catalogue.offers["dataset"])
    written: dict[Path, str] = {}
    bare = 0
    with _whole(folder) as part:
        for index, row in scores.columns(results, only).iterrows():
            trial = results[int(str(index))].trial
            maps = store.maps(trial)
            if maps is None:
                bare += 1
                continue
            try:
                images = TrialImages(trial, catalogue, locations)
            except UserError as error:
                raise UserError(f"{error}; or select other results with --only") from None
            place = Path(_file_name(row["title"])) / MAPS
            paths = store.scored(trial)["path"].tolist()
            for name, values in zip(paths, maps.values, strict=True):
                path = (place / name).with_suffix(".tiff")
                if path in written:
                    raise UserError(
                        f"'{folder / path}' would be the map of '{written[path]}' and of '{name}'; "
                        "select one data set with --only, or rename an image"
                    )
                written[path] = name
                size = images.image(name).shape[:2]
                with output.writing(folder / path):
                    write_map(part / path, values, size, maps.spec, given.bits)
        if not written:
            raise UserError(
                f"no result in '{store.root}' that is selected has maps; run it again with "
                "--keep-maps, or select others with --only"
                if only
                else f"no result in '{store.root}' has maps; run it again with --keep-maps"
            )
    if bare:
        options.tell(f"{counted(bare, 'trial')} stored no maps, left out")
    print(f"{counted(len(written), 'map')} in {folder}")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A new folder whose files are moved into ``folder`` at the end, unless there is an error."""
    with ExitStack() as open_:
        with output.writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            part = open_.enter_context(scratch.folder(f".{folder.name}.part-", folder.parent))
        yield part
        with output.writing(folder):
            for file in [path for path in part.rglob("*") if path.is_file()]:
                target = folder / file.relative_to(part)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)


def write_map(path: Path, values: Any, size: tuple[int, int], spec: Any, bits: int = 32) -> None:
    """Write a map [h, w] of the input as a TIFF file of an image of ``size``; makes its folder."""
    import numpy as np

    from adbench_harness.images.geometry import from_input
    from adbench_harness.results import tiff

    scores = from_input(values, spec, size)
    if bits == 16:
        if np.abs(scores).max() > np.finfo(np.float16).max:
            raise UserError(f"the scores of '{path.name}' do not fit 16 bits; write --bits 32")
        scores = scores.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    tiff.write(path, scores)


def _file_name(title: str) -> str:
    """A row's title as the name of a folder."""
    return re.sub(r"[^\w.=()-]+", "_", title).strip("_")
