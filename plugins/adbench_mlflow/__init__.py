"""Logs each finished trial as a run of MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adbench_harness.errors import require
from adbench_harness.hookspecs import hookimpl

if TYPE_CHECKING:
    from adbench_harness.hookspecs import TrialResult

require("mlflow")


@hookimpl
def adbench_trial_finished(result: TrialResult) -> None:
    from adbench_mlflow.observer import log

    log(result)
