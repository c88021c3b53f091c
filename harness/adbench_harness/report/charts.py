"""The plots of one trial as plain data, which a browser draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.metrics.ranking import Ranking
from adbench_harness.report.gallery import UNLABELLED, Arrays
from adbench_harness.results.maps import Maps
from adbench_harness.results.store import TrialResult
from adbench_harness.running import evaluating
from adbench_harness.running.images import TrialImages
from adbench_harness.types import GOOD

PRO_LIMIT = 0.3
_POINTS = 300
_SCORES = 400
"""The number of scores of a defect type that are drawn; evenly spaced ranks stand for more."""

Array = NDArray[np.floating[Any]]
Chart = Mapping[str, Any]
"""``title``, ``words`` that say the same to who cannot see it, ``kind``, and what that needs."""


def charts(
    result: TrialResult,
    images: Arrays,
    maps: Maps | None,
    here: TrialImages | None,
    curves: Mapping[str, Array],
) -> Iterator[Chart]:
    """Each plot that the stored arrays allow: ROC, PRO, scores by defect type, training curves."""
    yield from _rankings(result, images, maps, here)
    if "score" in images:
        yield _scores(images)
    for name, values in curves.items():
        yield training(name, values)


def _rankings(
    result: TrialResult, images: Arrays, maps: Maps | None, here: TrialImages | None
) -> Iterator[Chart]:
    def said(metric: str) -> str:
        found = result.metrics.get(metric)
        return "undefined" if found is None else f"{100 * found:.1f}%"

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
        named = f"ROC curve of {' and '.join(lines)}; {', '.join(words)}"
        yield _lines("ROC", named, lines, "true positive rate", 1.0)
    if pixels:
        line = curve(pixels, pixels.overlap, PRO_LIMIT)
        named = f"PRO curve up to a false positive rate of 30%; AUPRO {said('aupro')}"
        yield _lines("PRO", named, {"pixels": line}, "mean overlap", PRO_LIMIT)


def _lines(
    title: str, words: str, lines: Mapping[str, tuple[Array, Array]], y: str, limit: float
) -> Chart:
    return {
        "kind": "rates",
        "title": title,
        "words": words,
        "y": y,
        "limit": limit,
        "lines": [
            {"name": name, "x": _short(line[0]), "y": _short(line[1])}
            for name, line in lines.items()
        ],
    }


def _scores(images: Arrays) -> Chart:
    kinds = np.where(images["label"] < 0, UNLABELLED, images["defect"])
    defects = sorted(set(kinds.tolist()), key=lambda name: (name != GOOD, name))
    scores = {name: np.sort(images["score"][kinds == name]) for name in defects}
    medians = (f"{name} {np.median(values):.3g}" for name, values in scores.items())
    return {
        "kind": "scores",
        "title": "Scores by defect type" if len(scores) > 1 else "Scores",
        "words": f"Scores by defect type; medians: {', '.join(medians)}",
        "groups": [
            {
                "name": name,
                "count": len(values),
                "scores": _short(values[_thinned(len(values), _SCORES)], digits=5),
            }
            for name, values in scores.items()
        ],
    }


def training(name: str, values: Array) -> Chart:
    """What a training logged under a name, over its steps."""
    kept = _thinned(len(values), _POINTS)
    finite = values[np.isfinite(values)]
    ends = f"from {finite[0]:.3g} to {finite[-1]:.3g}" if len(finite) else "no finite value"
    log = bool(len(finite) and finite.min() > 0 and finite.max() > 30 * finite.min())
    return {
        "kind": "training",
        "title": f"Training: {name}",
        "words": f"{name} in {len(values)} steps of the training, {ends}",
        "name": name,
        "log": log,
        "x": (kept + 1).tolist(),
        "y": _short(values[kept], digits=5),
    }


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


def _thinned(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` evenly spaced positions, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _short(values: Array, digits: int = 4) -> list[float | None]:
    """Numbers with as many digits as a plot shows; JSON has no infinity."""
    return [
        float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.tolist()
    ]
