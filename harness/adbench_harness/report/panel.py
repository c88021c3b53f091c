"""The part of a page for one category: curves, scores by defect type, and test images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.metrics.ranking import Ranking
from adbench_harness.report import figure
from adbench_harness.report.gallery import Arrays, judgments, save, thumbnails
from adbench_harness.results.maps import Maps
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.running import evaluating
from adbench_harness.running.images import TrialImages
from adbench_harness.types import GOOD

PRO_LIMIT = 0.3
_POINTS = 300
NO_MAPS = (
    "No anomaly maps were stored, so there are no overlays and no PRO curve. A run with "
    "--keep-maps into a new folder stores them."
)
NO_IMAGES = (
    "The images that these results were measured on were not found when this site was made, so "
    "there are no pictures and no PRO curve. Use adbench report --data NAME=DIR to say where they "
    "are."
)

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Picture:
    """A file of the site and a description of its content."""

    file: str
    title: str
    words: str


@dataclass(frozen=True)
class Item:
    """A test image of the gallery; a thumbnail is None if the image or map is missing."""

    path: str
    defect: str
    score: str
    words: str
    wrong: bool
    image: str | None = None
    heat: str | None = None


@dataclass
class Panel:
    """One category of one row: its trial, plots, gallery, and notes on what is missing."""

    category: str
    result: TrialResult
    plots: list[Picture] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0


class Panels:
    """Makes panels, and writes their files under ``root``: ``plots/`` and ``images/``."""

    def __init__(self, store: Store, root: Path, count: int) -> None:
        self._store = store
        self._root = root
        self._count = count
        self._written: set[str] = set()

    def of(self, result: TrialResult, here: TrialImages | None) -> Panel:
        """The panel of a trial; ``here`` are its images, or None if they are missing."""
        trial = result.trial
        panel = Panel(trial.category, result)
        images = self._store.images(trial)
        if not images:
            panel.notes.append("This trial stored no per-image scores.")
            return panel
        maps = self._store.maps(trial)
        if here is None:
            panel.notes.append(NO_IMAGES)
        if maps is None and ("score" in images or "probability" not in images):
            panel.notes.append(NO_MAPS)
        panel.plots = [
            Picture(self._plot(f"{trial.id}-{number}", text), title, words)
            for number, (title, text, words) in enumerate(_plots(result, images, maps, here))
        ]
        if not panel.plots:
            panel.notes.append("No image or pixel scores were stored, so there are no curves.")
        panel.total = len(images["path"])
        for judgment in judgments(images)[: self._count]:
            path = str(images["path"][judgment.index])
            item = Item(
                path=path,
                defect=str(images["defect"][judgment.index]),
                score=f"{images['score'][judgment.index]:.4g}" if "score" in images else "",
                words=judgment.words,
                wrong=judgment.mistaken,
            )
            panel.items.append(self._pictured(item, result, judgment.index, maps, here))
        return panel

    def _pictured(
        self,
        item: Item,
        result: TrialResult,
        index: int,
        maps: Maps | None,
        here: TrialImages | None,
    ) -> Item:
        if here is None:
            return item
        trial = result.trial
        image, under = thumbnails(here, item.path, maps, index)
        # Rows of one category share their images.
        named = f"{trial.dataset.label}\0{trial.fingerprint}\0{item.path}"
        name = f"images/{hashlib.sha256(named.encode()).hexdigest()[:16]}.webp"
        if name not in self._written:
            save(image, self._root / name)
            self._written.add(name)
        heat = f"images/{trial.id}-{index}.webp" if under is not None else None
        if heat and under is not None:
            save(under, self._root / heat)
        return Item(**{**vars(item), "image": name, "heat": heat})

    def _plot(self, name: str, text: str) -> str:
        path = self._root / "plots" / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return f"plots/{name}.svg"


def _plots(
    result: TrialResult, images: Arrays, maps: Maps | None, here: TrialImages | None
) -> Iterator[tuple[str, str, str]]:
    """(title, SVG, description) of each plot that the stored arrays allow."""
    said: Callable[[str], str] = lambda metric: (  # noqa: E731
        f"{100 * result.metrics[metric]:.1f}%" if metric in result.metrics else "undefined"
    )
    seen = evaluating.stored(images, maps, here, result.trial.evaluation)
    pixels = seen.pixels if seen.has("map") and seen.pixels.defined else None
    lines, words = {}, []
    if "score" in images and {0, 1} <= set(images["label"].tolist()):
        ranking = seen.images
        lines["images"] = curve(ranking, ranking.true_positives / ranking.positives, 1.0)
        words.append(f"image AUROC {said('image_auroc')}")
    if pixels:
        lines["pixels"] = curve(pixels, pixels.true_positives / pixels.positives, 1.0)
        words.append(f"pixel AUROC {said('pixel_auroc')}")
    if lines:
        svg = figure.curves(lines, "false positive rate", "true positive rate")
        yield "ROC", svg, f"ROC curve of {' and '.join(lines)}; {', '.join(words)}"
    if pixels:
        line = curve(pixels, pixels.overlap, PRO_LIMIT)
        svg = figure.curves({"pixels": line}, "false positive rate", "mean overlap", PRO_LIMIT)
        yield "PRO", svg, f"PRO curve up to a false positive rate of 30%; AUPRO {said('aupro')}"
    if "score" in images:
        defects = sorted(set(images["defect"].tolist()), key=lambda name: (name != GOOD, name))
        scores = {name: images["score"][images["defect"] == name] for name in defects}
        medians = (f"{name} {np.median(values):.3g}" for name, values in scores.items())
        words = [f"Histogram of scores by defect type; medians: {', '.join(medians)}"]
        yield "Scores by defect type", figure.histogram(scores), words[0]


def curve(ranking: Ranking, height: Array, limit: float) -> tuple[Array, Array]:
    """A curve over the false positive rate, straight along ties, thinned to a plot's resolution."""
    before, after = ranking.false_positives - ranking.tied, ranking.false_positives
    x = np.concatenate([[0], np.stack([before, after], 1).ravel(), [ranking.negatives]])
    lower = np.concatenate([[0.0], height[:-1]])
    y = np.concatenate([[0], np.stack([lower, height], 1).ravel(), [1.0]])
    x = x / ranking.negatives
    last = int(np.searchsorted(x, limit, side="right"))
    if last < len(x):  # cut at the limit
        end = np.interp(limit, x[last - 1 : last + 1], y[last - 1 : last + 1])
        x, y = np.append(x[:last], limit), np.append(y[:last], end)
    travelled = np.cumsum(np.hypot(np.diff(x, prepend=0) / limit, np.diff(y, prepend=0)))
    steps = np.linspace(0, travelled[-1], _POINTS)
    kept = np.unique(np.append(np.searchsorted(travelled, steps), len(x) - 1).clip(max=len(x) - 1))
    return x[kept], y[kept]
