"""One result evaluated again; ``tests/cli/test_rescore.py`` compares with a run."""

from __future__ import annotations

import pytest

from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import Store
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.running.bundle import load, run_bundle
from adbench_harness.running.images import TrialImages
from adbench_harness.running.rescore import rescore
from adbench_harness.types import Metric

SMALL = EvaluationSettings(20, "crop")


@pytest.fixture
def store(planned, tmp_path):
    """The result of one trial, with its maps."""
    found = Store(tmp_path / "results")
    (bundle,) = planned(keep_maps=True)
    (result,) = run_bundle(bundle)
    found.write(result)
    return found


@pytest.fixture
def again(store, toys):
    """That result under other settings and metrics."""

    def make(metrics, settings=SMALL, with_images=True):
        (result,) = store.read()
        catalogue = load((toys,))
        here = TrialImages(result.trial, catalogue, Locations()) if with_images else None
        chosen = [catalogue.get("metric", name) for name in metrics]
        return result, rescore(result, store, here, chosen, settings)

    return make


def test_metrics_are_replaced_and_costs_are_kept(again):
    before, after = again(["image_auroc", "pixel_auroc"])
    assert after.metrics["image_auroc"] == before.metrics["image_auroc"]
    assert 0 <= after.metrics["pixel_auroc"] <= 1
    assert "aupro" in before.metrics
    assert "aupro" not in after.metrics
    for name in ("params", "flops", "fit_seconds"):
        assert after.metrics[name] == before.metrics[name]
    assert set(after.columns) == set(after.metrics)
    assert after.trial.evaluation == SMALL
    assert after.trial.metrics == ("image_auroc@1", "pixel_auroc@1")
    assert after.trial.id != before.trial.id


def test_marks_are_those_of_the_new_settings(again):
    before, after = again(["image_auroc"])
    assert (before.flags, after.flags) == ((), ("border=crop", "size=20"))


def test_without_the_images_no_metric_of_maps_is_computed(again):
    _, after = again(["image_auroc", "pixel_auroc"], with_images=False)
    assert "image_auroc" in after.metrics
    assert "pixel_auroc" not in after.metrics


def test_a_metric_of_ones_own_sees_the_stored_scores(again, store):
    own = Metric("highest", "", lambda seen: seen.scores.max(), "image", unit="")
    (result,) = store.read()
    found = rescore(result, store, None, [own], EvaluationSettings())
    assert found.metrics["highest"] == store.images(result.trial)["score"].max()
    assert found.columns["highest"].unit == ""
