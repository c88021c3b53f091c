"""Makes the evaluation that a trial's metrics see, from its arrays and the ground truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.errors import ContractError
from adbench_harness.evaluation import Evaluation, Lazy, Mask
from adbench_harness.images import geometry
from adbench_harness.images.truth import Truth
from adbench_harness.results.maps import Maps
from adbench_harness.results.store import Heading
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.running.images import TrialImages
from adbench_harness.types import RANGES, InputSpec, Metric


def evaluation(images: Mapping[str, NDArray[Any]]) -> Evaluation:
    """The evaluation of a trial's ``images`` (arrays as in a ``TrialResult``), without maps."""
    names = images["class"].tolist() if "class" in images else []
    return Evaluation(
        labels=images["label"],
        scores=images.get("score"),
        predicted=images["probability"].argmax(axis=1) if names else None,
        true=np.array([names.index(defect) for defect in images["defect"]]) if names else None,
        classes=tuple(names),
        defects=tuple(images["defect"].tolist()),
        names=tuple(images["path"].tolist()),
        validation=images.get("validation"),
    )


def with_maps(
    seen: Evaluation,
    maps: Iterable[NDArray[np.float32]],
    truth: Truth,
    spec: InputSpec,
    settings: EvaluationSettings,
) -> Evaluation:
    """``seen`` with maps and masks of the images whose ``truth`` is known.

    ``maps`` [h, w] are those of all images, over the input rectangle of ``spec``.
    """
    mapped = [i for i, mask in enumerate(truth.masks) if mask is not None]
    if not mapped:
        return seen
    met = geometry.met(zip(maps, truth.masks, strict=True), spec, settings)

    def regions(i: int) -> list[Mask]:
        return [geometry.scored(region, spec, settings) for region in truth.regions(i)]

    def saturation(i: int) -> list[float | None]:
        scale = geometry.scored_px(truth.size(i), spec, settings)
        return [None if area is None else area * scale for area in truth.saturation(i)]

    return replace(
        seen,
        maps=[scores for scores, _ in met],
        masks=[mask for _, mask in met],
        mapped=np.array(mapped),
        regions=Lazy(regions, mapped),
        saturation=[saturation(i) for i in mapped],
    )


def stored(
    images: Mapping[str, NDArray[Any]],
    maps: Maps | None,
    here: TrialImages | None,
    settings: EvaluationSettings,
) -> Evaluation:
    """The evaluation of a stored trial; it has maps if they and the images are available."""
    seen = evaluation(images)
    if maps is None or here is None:
        return seen
    return with_maps(seen, maps.values, here.truth(seen.names), maps.spec, settings)


def value(metric: Metric, seen: Evaluation) -> float:
    """What the metric computes. Raises ContractError for a number that its unit does not allow."""
    found = float(metric.compute(seen))
    if not math.isnan(found) and not Heading.of(metric).allows(found):
        low, high = RANGES[metric.unit]
        raise ContractError(
            f"metric '{metric.name}' is {found:g}, but a number of unit '{metric.unit}' is "
            + (f"between {low:g} and {high:g}" if math.isfinite(high) else f"{low:g} or more")
            + "; correct it, or declare unit=''"
        )
    return found
