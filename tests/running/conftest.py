from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.planning import plan, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.running.bundle import load, run_bundle

PROBES = str(Path(__file__).parent.with_name("probes.py"))
METRICS = ["image_auroc", "pixel_auroc", "pixel_ap", "pixel_f1", "aupro"]


@pytest.fixture
def planned(toys):
    """The bundles of a suite over toys and probes, on one category unless it says otherwise."""

    def make(checkpoints=None, locations=None, **asked):
        defaults = {
            "plugins": [toys, PROBES],
            "datasets": "toy-data/dark",
            "preprocessors": "none",
            "augmenters": "none",
            "models": "toy-mean",
            "scorers": "toy-map",
            "metrics": METRICS,
        }
        checked = suite.validate(defaults | asked, "test")
        catalogue = load(tuple(checked.plugins))
        places = Locations.given(None, locations or {}, None, None)
        made = plan.make(checked, catalogue, places, device="cpu", checkpoints=checkpoints)
        return made.bundles

    return make


@pytest.fixture
def ran(planned):
    """The results of such a suite."""
    return lambda **asked: [r for bundle in planned(**asked) for r in run_bundle(bundle)]


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    """Data of this test's own, to be spoilt."""
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "cache"))
