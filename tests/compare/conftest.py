from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adbench_harness.results.store import Failure, Store, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial, Weights
from headings import columns

LABELS = np.array([0] * 20 + [1] * 20, np.int8)
COSTS = {"params": 1000.0, "flops": 5e6, "fit_seconds": 2.0, "ms_per_image": 40.0, "peak_mb": 900.0}
TRIAL = Trial(
    dataset=Choice("mini", 1),
    category="grass",
    fingerprint="0123456789abcdef",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(Choice("mean", 1, {"size": 11}),),
    augmenter=None,
    model=Choice("patchcore", 1, {"coreset_ratio": 0.1, "layers": ["layer2"]}, ("coreset_ratio",)),
    scorer=Choice("nn", 1, {"sigma": 4}),
    weights=(Weights("embedded", 1),),
    seed=0,
    evaluation=EvaluationSettings(),
    metrics=("image_auroc@1", "aupro@1"),
)
TITLE = "mini/grass · mean · patchcore(coreset_ratio=0.1) · nn · seed 0"


def scores(seed: int = 0) -> np.ndarray[Any, Any]:
    """Separable but for a few."""
    return np.random.default_rng(seed).normal(2.0 * LABELS, 1.0).astype(np.float32)


def images(score: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] = LABELS) -> dict[str, Any]:
    return {
        "path": np.array([f"grass/test/{i:03}.png" for i in range(len(score))]),
        "defect": np.where(labels == 1, "hole", "good"),
        "label": labels,
        "score": score,
    }


def result(trial: Trial = TRIAL, score: Any = None, **metrics: float) -> TrialResult:
    metrics = {"image_auroc": 0.9, "aupro": 0.8, **COSTS, **metrics}
    return TrialResult(
        trial=trial,
        status="ok",
        metrics=metrics,
        columns=columns(metrics),
        provenance={"device": "cpu", "torch": "2.15", "threads": 2, "commit": "abc"},
        images=images(scores() if score is None else score),
    )


def failed(trial: Trial = TRIAL) -> TrialResult:
    failures = (Failure("fit", "no memory", "Traceback ..."),)
    return replace(result(trial), status="failed", metrics={}, images={}, failures=failures)


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Store]:
    """A store ``name`` with results in it."""

    def write(name: str, *results: TrialResult) -> Store:
        store = Store(tmp_path / name)
        store.trials.mkdir(parents=True)
        for one in results:
            store.write(one)
        return store

    return write
