"""Runs every model on a device and again on the CPU, and says how far apart their scores are.

``python tests/agreement.py DEVICE [MODEL ...]`` prints a table as it goes. Models
have the size of their conformance checks, and a ResNet-18 if ADBENCH_REAL_DATA has its weights;
without it, models that train their backbone fail. It exits with 1 if a model does not agree.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from adbench_harness import compare, session
from adbench_harness.compare.images import changes
from adbench_harness.errors import said
from adbench_harness.planning import plugins
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.suite import validate
from adbench_harness.results.store import TrialResult
from installed import in_tree

REAL = os.environ.get("ADBENCH_REAL_DATA")
LOCATIONS = Locations(weights=f"{REAL}/weights" if REAL else None)
HEAD = """\
| model | scorer | largest change of a score, standard deviations | verdict |
|---|---|---|---|"""


def models(wanted: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each model of the repository, and the suite that runs it."""
    offers = plugins.load(in_tree()).offers["model"]
    for offer in offers.values():
        model = offer.component
        if wanted and model.name not in wanted:
            continue
        protocol = "unsupervised" if "unsupervised" in model.protocols else min(model.protocols)
        suite: dict[str, Any] = {
            "plugins": [*dict.fromkeys([offer.plugin, "padim", "twostage"])],
            "datasets": "mini/brick",
            "preprocessors": "none",
            "augmenters": "none" if model.augmentation == "none" else "perlin",
            "models": [{"name": model.name, **model.check_parameters}],
            "protocol": protocol,
            "backbone": "resnet18" if REAL else "embedded",
        }
        yield model.name, suite


def compared(suite: dict[str, Any], device: str) -> Iterator[tuple[TrialResult, TrialResult]]:
    """Each trial's result on the device, and its repetition on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        checked = validate(suite, "suite")
        prepared = session.prepare(checked, LOCATIONS, out=folder, device=device)
        for result in session.perform(prepared):
            images = prepared.store.images(result.trial)
            there = TrialResult(**{**vars(result), "images": images})
            yield there, session.repeat(there, LOCATIONS, device="cpu")


def main(device: str, *wanted: str) -> int:
    """Returns 1 if a model does not agree."""
    code = 0
    print(f"{device} against the CPU, on mini/brick\n\n{HEAD}", flush=True)
    for name, suite in models(list(wanted)):
        try:
            for there, here in compared(suite, device):
                found = compare.repetition(there, here)
                moved = changes(there.images, here.images, 0.0).furthest
                verdict = ", ".join(found.mismatches) or "agrees"
                if there.failures:
                    verdict = f"failed: {there.failures[0].message}"
                code = code or int(verdict != "agrees")
                scorer = there.trial.scorer.label
                print(f"| {name} | {scorer} | {moved:.2g} | {verdict} |", flush=True)
        except Exception as error:  # the other models are compared all the same
            code = 1
            print(f"| {name} | | | {said(error)} |", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
