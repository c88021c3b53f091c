"""Needs the extra ``mlflow``; the server is a file of the test's own."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")

import numpy as np
from mlflow import MlflowClient

from adbench_harness.cli import main
from adbench_harness.results.store import Store
from adbench_mlflow import observer

ARGUMENTS = ("--datasets", "mini/brick", "--device", "cpu")
PADIM = "padim:dimensions=8:resize=64:crop=none"


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return MlflowClient()


def ran(tmp_path, *arguments, plugins="padim,mlflow"):
    return main(["run", "--plugins", plugins, *ARGUMENTS, *arguments, "--out", str(tmp_path)])


def runs(client, name=observer.EXPERIMENT):
    experiment = client.get_experiment_by_name(name)
    return client.search_runs([experiment.experiment_id])


def test_every_trial_is_a_run_with_its_numbers(client, tmp_path):
    code = ran(tmp_path / "out", "--models", PADIM, "--backbone", "embedded", "--seeds", "2")
    assert code == 0
    by_id = {run.data.tags["adbench.trial"]: run for run in runs(client)}
    results = {result.trial.id: result for result in Store(tmp_path / "out").read()}
    assert set(by_id) == set(results)
    assert len(results) == 2
    for key, run in by_id.items():
        result = results[key]
        assert run.info.status == "FINISHED"
        assert run.info.run_name == result.trial.title
        assert run.data.metrics["image_auroc"] == pytest.approx(result.metrics["image_auroc"])
        assert len(run.data.metrics) >= len(result.metrics)
        assert run.data.params["model"] == "padim"
        assert run.data.params["model.dimensions"] == "8"
        assert run.data.params["seed"] == str(result.trial.seed)
        assert run.data.params["augmenter"] == "none"


def test_a_failed_trial_is_a_failed_run_with_its_reason_and_traceback(
    client, tmp_path, plugin_file, monkeypatch
):
    body = (
        "from adbench_harness.types import AnomalyMap, InputSpec\n"
        "class Broken:\n"
        "    name, summary, paper, version = 'broken', 'Fails.', None, 1\n"
        "    emits, protocols, augmentation = {AnomalyMap}, {'unsupervised'}, 'none'\n"
        "    input = InputSpec(resize=32, crop=None)\n"
        "    def fit(self, train, tools): raise RuntimeError('out of luck')\n"
        "    def predict(self, batch): ...\n"
        "@hookimpl\n"
        "def adbench_models(): return [Broken]\n"
    )
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert ran(tmp_path / "out", plugins=f"{plugin_file('bad', body)},mlflow") == 1
    (run,) = runs(client, "mine")
    assert run.info.status == "FAILED"
    assert run.data.tags["adbench.failure"] == "fit: RuntimeError: out of luck"
    (artifact,) = client.list_artifacts(run.info.run_id, "failures")
    assert artifact.path == "failures/0-traceback.txt"


def test_curves_keep_their_steps(client, tmp_path):
    ran(tmp_path / "out", "--models", PADIM, "--backbone", "embedded")
    (result,) = Store(tmp_path / "out").read()
    curves = {"loss 1 (train)%": np.arange(1500) / 3}
    observer.log(type(result)(**{**vars(result), "curves": curves}))
    run = next(run for run in runs(client) if "curve/loss 1 _train_pct" in run.data.metrics)
    history = client.get_metric_history(run.info.run_id, "curve/loss 1 _train_pct")
    assert [point.step for point in sorted(history, key=lambda point: point.step)] == list(
        range(1500)
    )


def test_a_tracker_that_is_away_costs_no_trial(client, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code = ran(tmp_path / "out", "--models", PADIM, "--backbone", "embedded")
    assert code == 0
    assert [result.status for result in Store(tmp_path / "out").read()] == ["ok"]
    assert "adbench: observer mlflow: " in capsys.readouterr().err
