"""A fitted component, stored and loaded again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from safetensors.torch import load, save

from adbench_harness.running import learned
from adbench_harness.testing.common import make
from adbench_harness.types import Tools


def reloaded(component: Any, fitted: Any, tools: Tools) -> Any:
    """Another instance with what ``fitted`` learned, converted to JSON and safetensors and back.

    Raises UnknownStateError if it is unknown what ``fitted`` learned.
    """
    taken = learned.take(fitted, make(component))
    values = json.loads(json.dumps(taken.values, allow_nan=False))
    fresh = make(component)
    stored = replace(taken, values=values, tensors=load(save(dict(taken.tensors))))
    learned.put(fresh, stored, tools)
    return fresh
