"""Every image model of anomalib as an adbench model with raw output."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from adbench_harness.errors import require
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Model

require("anomalib")


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings of anomalib's own imports
        from adbench_anomalib.zoo import models

    return models()
