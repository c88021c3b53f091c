from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from adbench_harness.results.store import Failure, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial, Weights
from headings import columns


def _choice(name: str, **params: Any) -> Choice:
    return Choice(name, 1, params, tuple(params))


def _result(
    metrics: Mapping[str, float] | float | None = None,
    *,
    dataset: str = "mini",
    category: str = "brick",
    preprocessors: tuple[str, ...] = (),
    augmenter: str | None = None,
    model: str = "patchcore",
    params: Mapping[str, Any] | None = None,
    scorer: str = "knn",
    backbone: str = "embedded",
    device: str | None = "cpu",
    seed: int = 0,
    flags: tuple[str, ...] = (),
    finished: str = "",
    **trial: Any,
) -> TrialResult:
    """A result; a number is its image AUROC, None a failure to fit."""
    if isinstance(metrics, float):
        metrics = {"image_auroc": metrics}
    return TrialResult(
        trial=Trial(
            **{
                "dataset": _choice(dataset),
                "category": category,
                "fingerprint": "f" * 16,
                "protocol": "unsupervised",
                "split_seed": 0,
                "preprocessors": tuple(map(_choice, preprocessors)),
                "augmenter": _choice(augmenter) if augmenter else None,
                "model": _choice(model, **(params or {})),
                "scorer": _choice(scorer),
                "weights": (Weights(backbone, 1),),
                "seed": seed,
                "evaluation": EvaluationSettings(),
                "metrics": ("image_auroc@1",),
                **trial,
            }
        ),
        status="failed" if metrics is None else "ok",
        metrics=metrics or {},
        columns=columns(metrics or {}),
        provenance={"device": device, "finished": finished} if device else {},
        flags=flags,
        failures=() if metrics is not None else (Failure("fit", "no memory", "Traceback ..."),),
    )


@pytest.fixture(scope="session")
def result() -> Callable[..., TrialResult]:
    return _result
