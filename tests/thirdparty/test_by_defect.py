from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from adbench_harness.cli import main
from adbench_harness.planning.plugins import load
from adbench_harness.results.store import Store
from adbench_harness.testing import parametrize_with_checks

FILE = str(Path(__file__).with_name("by_defect.py"))
METRICS = [
    offer.component for offer in load([FILE]).offers["metric"].values() if offer.plugin != "basic"
]


@parametrize_with_checks(METRICS)
def test_conformance(component, check):
    check(component)


SCORER = """
from adbench_harness.types import AnomalyMap, Scores
from toys import ToyScorer


class Border(ToyScorer):
    name = "border"
    summary = "The map's mean along the border, where few defects are."

    def __init__(self):
        pass

    def score(self, outputs):
        return Scores(outputs[AnomalyMap].levels[0].values[:, :, :2].mean((1, 2)))


@hookimpl
def adbench_scorers():
    return [Border]
"""


# They would always have a value.
ALWAYS = """
from adbench_harness.types import Metric

def one(name, *defects):
    return Metric(name, "1, whatever the images show", lambda _: 1.0, "image", defects=defects)

@hookimpl
def adbench_metrics():
    return [one("of_dents", "dent"), one("of_spots", "spot"), one("of_both", "spot", "dent")]
"""


@pytest.fixture
def ran(toys, tmp_path, plugin_file):
    """The store of a run of the toys with the metrics; the toys have no dents."""
    names = ("--preprocessors", "none", "--models", "toy-mean", "--scorers", "border")
    plugins = f"{toys},{plugin_file('border', SCORER)},{FILE}"
    plugins += f",{plugin_file('always', ALWAYS)}"
    arguments = ["run", "--plugins", plugins, *names, "--device", "cpu"]
    store = tmp_path / "store"
    assert main([*arguments, "--datasets", "toy-data", "--out", str(store)]) == 0
    return Store(store)


def test_each_defect_type_has_a_number(ran):
    results = list(ran.read())
    assert len(results) == 2
    for result in results:
        images = ran.images(result.trial)
        expected = {}
        for defect in ("scratch", "spot"):
            shown = np.isin(images["defect"], ["good", defect])
            expected[defect] = roc_auc_score(images["label"][shown], images["score"][shown])
            assert result.metrics[f"auroc_{defect}"] == pytest.approx(expected[defect])
        assert result.metrics["auroc_by_defect"] == pytest.approx(np.mean(list(expected.values())))
        assert "auroc_dent" not in result.metrics
        assert "of_spots" in result.metrics
        assert {"of_dents", "of_both"}.isdisjoint(result.metrics), "no image shows a dent"
    assert any(r.metrics["auroc_scratch"] != r.metrics["auroc_spot"] for r in results)


def test_a_stored_run_has_them_too(ran, toys, tmp_path):
    """What is stored of an image is enough for them, and what it does not show is still missing."""
    before = {result.trial.id: result.metrics for result in ran.read()}
    again = tmp_path / "again"
    arguments = ["rescore", str(ran.root), "--out", str(again), "--plugins"]
    always = tmp_path / "always.py"
    assert main([*arguments, f"{toys},{FILE},{always}"]) == 0
    for result in Store(again).read():
        assert "of_spots" in result.metrics
        assert {"of_dents", "of_both"}.isdisjoint(result.metrics)
        for name in ("auroc_scratch", "auroc_spot", "auroc_by_defect"):
            assert result.metrics[name] == before[result.trial.id][name]
