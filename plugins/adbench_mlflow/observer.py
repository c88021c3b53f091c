"""Logs a trial's result to MLflow: parameters, metrics, curves, tags, status.

MLflow itself finds the server (MLFLOW_TRACKING_URI); the experiment is
MLFLOW_EXPERIMENT_NAME, or ``adbench``.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

if TYPE_CHECKING:
    from adbench_harness.hookspecs import TrialResult

EXPERIMENT: Final = "adbench"
LONGEST: Final = 500
"""Maximum length of a value that every MLflow server accepts."""
_METRICS: Final = 1000
"""Maximum number of metrics in a request."""


def log(result: TrialResult) -> None:
    """Log one run for ``result``, closed as finished or failed; MLflow's errors propagate."""
    # A server that cannot be reached must not delay every trial for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    client = MlflowClient()
    title = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    known = client.get_experiment_by_name(title)
    experiment = known.experiment_id if known else client.create_experiment(title)
    run = client.create_run(experiment, run_name=result.trial.title)
    now = int(time.time() * 1000)
    metrics = [Metric(_key(name), value, now, step) for name, value, step in _metrics(result)]
    client.log_batch(
        run.info.run_id,
        metrics=metrics[:_METRICS],
        params=[Param(_key(name), _value(value)) for name, value in _params(result).items()],
        tags=[RunTag(_key(name), _value(value)) for name, value in _tags(result).items()],
    )
    for start in range(_METRICS, len(metrics), _METRICS):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + _METRICS])
    for number, failure in enumerate(result.failures):
        client.log_text(run.info.run_id, failure.traceback, f"failures/{number}-traceback.txt")
    client.set_terminated(run.info.run_id, "FAILED" if result.failures else "FINISHED")


def _params(result: TrialResult) -> dict[str, Any]:
    """Each axis, and each parameter of its components."""
    trial = result.trial
    found: dict[str, Any] = {
        "category": trial.category,
        "preprocessor": trial.preprocessor,
        "backbone": trial.backbone,
        "protocol": trial.protocol,
        "split_seed": trial.split_seed,
        "seed": trial.seed,
    }
    for kind in ("dataset", "augmenter", "model", "scorer"):
        choice = getattr(trial, kind)
        found[kind] = choice.name if choice else "none"
        if choice:
            found |= {f"{kind}.{name}": value for name, value in choice.params.items()}
    return found


def _metrics(result: TrialResult) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of every number; the seconds of a stage have its name."""
    for name, value in result.metrics.items():
        yield name, float(value), 0
    for name, value in result.seconds_alone.items():
        yield f"seconds/{name}", float(value), 0
    for name, values in result.curves.items():
        for step, value in enumerate(values):
            yield f"curve/{name}", float(value), step


def _tags(result: TrialResult) -> dict[str, Any]:
    """The trial's id, flags, failures and provenance."""
    found: dict[str, Any] = {
        "adbench.trial": result.trial.id,
        "adbench.status": result.status,
        "adbench.flags": ", ".join(result.flags),
    }
    if result.failures:
        first = result.failures[0]
        found["adbench.failure"] = f"{first.stage}: {first.message}"
    made: Mapping[str, Any] = result.provenance
    return found | {f"adbench.{name}": made[name] for name in ("device", "commit") if name in made}


def _key(name: str) -> str:
    """A name that MLflow accepts: letters, digits, ``_ - . / `` and spaces."""
    return re.sub(r"[^\w./ -]", "_", name.replace("%", "pct"))


def _value(value: Any) -> str:
    return str(value)[:LONGEST]
