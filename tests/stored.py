"""A result with everything that one can have, for tests of the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from adbench_harness.results.maps import Maps
from adbench_harness.results.store import Heading, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial, Weights
from adbench_harness.types import InputSpec

TRIAL = Trial(
    dataset=Choice("mini", 1),
    category="grass é",
    fingerprint="0123",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(Choice("mean", 1, {"size": 11}, ("size",)),),
    augmenter=None,
    model=Choice("patchcore", 1, {"layers": ["layer2"], "crop": None}, ("layers",)),
    scorer=Choice("nn", 1),
    weights=(Weights("resnet18", 1, None, "f370", False),),
    seed=3,
    evaluation=EvaluationSettings(256, "crop"),
    metrics=("image_auroc@1",),
)
IMAGES: dict[str, Any] = {
    "path": np.array(["test/good/0.png", "test/kratzer/é.png"]),
    "defect": np.array(["good", "kratzer"]),
    "label": np.array([0, -1], dtype=np.int8),
    "score": np.array([0.1, 1e-30], dtype=np.float32),
}
MAPS = Maps(
    np.linspace(-1.5, 2.5, 32, dtype=np.float32).reshape(2, 4, 4),
    InputSpec((4, 6), (4, 4)),
)
CURVES: dict[str, Any] = {"loss": np.array([3.0, 1e-300])}


def result(**changes: Any) -> TrialResult:
    whole = TrialResult(
        trial=TRIAL,
        status="ok",
        metrics={"image_auroc": 0.5, "params": 3.0},
        columns={
            "image_auroc": Heading("image AUROC"),
            "params": Heading("params", "count", False),
        },
        intervals={"image_auroc": (0.25, 0.75)},
        seconds_alone={"fit": 1.25},
        provenance={"device": "cpu", "weights": [{"sha256": "f370"}], "commit": None},
        flags=("border=crop",),
        chosen={"crop": 224, "embedding": "means"},
        images=IMAGES,
        maps=MAPS,
        curves=CURVES,
    )
    return replace(whole, **changes)
