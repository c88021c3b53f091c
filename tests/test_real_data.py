"""The numbers that only real images can give; they need ``ADBENCH_REAL_DATA``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adbench_harness.planning import plan, plugins
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.suite import Suite
from adbench_harness.running.bundle import run_bundle

REAL = os.environ.get("ADBENCH_REAL_DATA")
pytestmark = pytest.mark.skipif(
    not REAL, reason="ADBENCH_REAL_DATA names no folder with data/ and weights/"
)


def test_patchcore_reaches_its_published_numbers_on_bottle() -> None:
    """Published at 1%: image AUROC 100.0; at 10%: 100.0, pixels 98.1."""
    catalogue = plugins.load(["patchcore"])
    suite = Suite(
        plugins=["patchcore"], datasets="mvtec_ad/bottle", scorers="nn", backbone="resnet18"
    )
    locations = Locations(data=f"{REAL}/data", weights=f"{REAL}/weights")
    (bundle,) = plan.make(suite, catalogue, locations).bundles
    (result,) = run_bundle(bundle)
    assert result.status == "ok", result.failures
    assert result.provenance["images"] == {"train": 209, "validation": 0, "test": 83}
    assert result.metrics["image_auroc"] >= 0.995
    assert result.metrics["pixel_auroc"] >= 0.975
    assert Path(str(result.images["path"][0])).parts[0] == "bottle"
