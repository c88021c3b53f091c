"""``adbench export``: a row's pipeline as a file that needs neither adbench nor its plugins."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options, output, predict, row, verdict
from adbench_harness.errors import UserError
from adbench_harness.wording import counted

if TYPE_CHECKING:
    from adbench_harness.running.predicting import Prediction

SUMMARY = "Write a row's pipeline as a PyTorch or ONNX file, checked against its scores."
MOST = 10
"""Images that are checked."""
TOLERANCE = 1e-4
"""Of the largest score or value of the map."""


def arguments(parser: argparse.ArgumentParser) -> None:
    row.arguments(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="images of the size that the file shall take; the first ten are checked",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="file to write: .pt2 or .onnx"
    )
    verdict.arguments(parser)
    options.add_plugins(parser)
    options.add_locations(parser)


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.display import Display
    from adbench_harness.results.store import Store
    from adbench_harness.running import exporting

    verdict.check(given)
    path = Path(given.output)
    if path.suffix not in exporting.SUFFIXES:
        raise UserError(f"'{path}': write a file that ends with .pt2 (PyTorch) or .onnx")
    paths = [file for item in given.images for file in predict.files(item)][:MOST]
    store = Store.existing(given.results)
    output.check_outside(path, store)
    stored = row.chosen(store, given)
    threshold = verdict.threshold(store, stored, given)
    with Display().stages() as progress:
        predictor = row.fitted(store, stored, given, "cpu", progress)
    import numpy as np

    from adbench_harness.images import decoding

    images = [decoding.decode(file, predictor.depth) for file in paths]
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        shown = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise UserError(f"the images have {len(sizes)} sizes ({shown} px); give those of one size")
    with output.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with output.writing(path):
            part.write_bytes(b"")  # torch's error would not say what is wrong with the path
        exporting.write(predictor, images[0].shape[:2], threshold, part)
        run = exporting.load(part)
        made = [run(np.ascontiguousarray(image.transpose(2, 0, 1)[None])) for image in images]
        apart = _apart(made, list(predictor.predict(paths, lambda *_: None)))
        shapes = [f"{name} {list(value.shape)}" for name, value in made[0].items()]
        if threshold is not None:
            shapes[-1] += f" (score above {threshold:.6g})"
        if not apart <= TOLERANCE:
            raise UserError(
                f"the exported file gives other scores than the row, by {apart:.2g} of the "
                f"largest (at most {TOLERANCE:g}); it was not written"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    height, width = images[0].shape[:2]
    options.say(
        f"{path}: {stored.trial.title}; takes uint8 RGB [1, 3, {height}, {width}], and gives "
        f"{' and '.join(shapes)}, a map being of the model's input; on "
        f"{counted(len(images), 'image')} its scores differ by {apart:.1g} of the largest",
        "  ",
    )
    return 0


def _apart(made: list[Any], expected: list[Prediction]) -> float:
    """The largest difference of any score or map, as a share of the largest score or value."""
    import numpy as np

    worst = 0.0
    for found, one in zip(made, expected, strict=True):
        if one.error:
            raise UserError(one.error)
        for name, value in (("score", one.score), ("map", one.map)):
            if value is not None:
                right = np.asarray(value, np.float64)
                scale = max(1e-12, float(np.abs(right).max()))
                worst = max(worst, float(np.abs(found[name][0] - right).max()) / scale)
    return worst
