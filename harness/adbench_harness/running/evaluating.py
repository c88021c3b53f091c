"""What the metrics of a trial see, from its arrays and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench_harness.evaluation import Evaluation
from adbench_harness.images import geometry
from adbench_harness.results.maps import Maps
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.running.images import TrialImages


def evaluation(
    images: Mapping[str, NDArray[Any]],
    met: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]],
) -> Evaluation:
    """A trial's ``images``, arrays as a ``TrialResult`` has them, and its maps beside masks."""
    names = images["class"].tolist() if "class" in images else []
    return Evaluation(
        labels=images["label"],
        scores=images.get("score"),
        maps=[scores for scores, _ in met] or None,
        masks=[mask for _, mask in met] or None,
        predicted=images["probability"].argmax(axis=1) if names else None,
        true=np.array([names.index(defect) for defect in images["defect"]]) if names else None,
        classes=tuple(names),
    )


def stored(
    images: Mapping[str, NDArray[Any]],
    maps: Maps | None,
    here: TrialImages | None,
    settings: EvaluationSettings,
) -> Evaluation:
    """The same of what was stored, with maps only where they and the images are there."""
    if maps is None or here is None:
        return evaluation(images, [])
    masks = here.masks(images["path"].tolist())
    pairs = zip(maps.values, masks, strict=True)
    return evaluation(images, geometry.met(pairs, maps.spec, settings))
