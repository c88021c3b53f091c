"""Metrics computed again from what a trial stored: another protocol without running a model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.errors import UserError
from adbench_harness.evaluation import Evaluation
from adbench_harness.images import decoding, folders, geometry
from adbench_harness.planning import parameters
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.samples import listed
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.results.trial import EvaluationSettings, Trial
from adbench_harness.running.provenance import setting_flags
from adbench_harness.types import InputSpec, Metric, Sample


class Truth:
    """A category's test images as its data set has them now: their order, labels and masks."""

    def __init__(self, trial: Trial, catalogue: Catalogue, root: Path) -> None:
        dataset = parameters.build(catalogue, "dataset", trial.dataset)
        samples = listed(dataset, root, trial.category, trial.protocol, trial.split_seed)
        if folders.fingerprint(root, samples) != trial.fingerprint:
            raise UserError(
                f"data set '{trial.dataset.label}', category '{trial.category}': the files under "
                f"'{root}' are not those that were run; name the folder with --data"
            )
        self.test = [sample for sample in samples if sample.split == "test"]
        threshold = dataset.mask_threshold

        def mask(sample: Sample) -> NDArray[np.bool_] | None:
            return decoding.mask(sample, threshold, _size(sample))

        with ThreadPoolExecutor(folders.workers()) as pool:
            self.masks = list(pool.map(mask, self.test))


def _size(sample: Sample) -> tuple[int, int]:
    height, width = decoding.decode(sample.image).shape[:2]
    return height, width


def rescore(
    result: TrialResult,
    store: Store,
    truth: Truth | None,
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
) -> TrialResult:
    """The result of the same trial, its scores and stored maps evaluated under ``settings``.

    Costs are kept; of the ``metrics`` those are computed for which the trial stored what they
    need: maps only if it was run with ``--keep-maps``, and only if their ``truth`` is given. They
    are stored with 16 bits, which moves a metric by less than 1e-4.
    """
    images = store.images(result.trial)
    maps = store.maps(result.trial)
    met = _met(maps, truth, settings) if truth and maps else []
    names = images["class"].tolist() if "class" in images else []
    evaluation = Evaluation(
        labels=images["label"],
        scores=images.get("score"),
        maps=[m for m, _ in met] or None,
        masks=[mask for _, mask in met] or None,
        predicted=images["probability"].argmax(axis=1) if names else None,
        true=np.array([names.index(defect) for defect in images["defect"]]) if names else None,
        classes=tuple(names),
    )
    found = {m.name: float(m.compute(evaluation)) for m in metrics if evaluation.has(m.needs)}
    ranged = {m.name: m.interval for m in metrics if m.interval and m.name in found}
    evaluated = {name.partition("@")[0] for name in result.trial.metrics}
    kept = {name: value for name, value in result.metrics.items() if name not in evaluated}
    lower = {name for name in result.lower_is_better if name in kept}
    lower |= {metric.name for metric in metrics if not metric.higher_is_better} & found.keys()
    before = setting_flags(result.trial.evaluation)
    return replace(
        result,
        trial=replace(
            result.trial,
            evaluation=settings,
            metrics=tuple(f"{metric.name}@{metric.version}" for metric in metrics),
        ),
        metrics=kept | found,
        intervals={name: interval(evaluation) for name, interval in ranged.items()},
        lower_is_better=tuple(sorted(lower)),
        flags=(*setting_flags(settings), *(flag for flag in result.flags if flag not in before)),
        images=images,
        maps=maps,
        curves=store.curves(result.trial),
    )


def _met(
    stored: dict[str, NDArray[Any]], truth: Truth, settings: EvaluationSettings
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Each stored map beside its mask, where the truth by pixel is known."""
    resize, crop, squash = stored["input"].tolist()
    spec = InputSpec(resize, crop or None, "squash" if squash else "keep")
    low, high = stored["low"], stored["high"]
    maps = low + stored["map"] * (high - low) / np.float32(65535)

    def meet(place: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        mask = truth.masks[place]
        return None if mask is None else geometry.meet(maps[place], mask, spec, settings)

    with ThreadPoolExecutor(folders.workers()) as pool:
        return [pair for pair in pool.map(meet, range(len(maps))) if pair is not None]
