from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from adbench_harness.datasets import draw
from adbench_harness.images import decoding, folders, geometry, masks
from adbench_harness.metrics.ranking import Ranking
from adbench_harness.running.bundle import contract, load, run_bundle
from adbench_harness.running.watch import Watch
from adbench_harness.statistics import delong
from adbench_harness.types import InputSpec

IMAGES = {"train": 4, "test": 8}
METRICS = ["image_auroc", "pixel_auroc", "pixel_ap", "pixel_f1", "aupro"]


def by_name(results):
    return {r.trial.model.name: r for r in results}


def scores(results):
    return {r.trial.id: r.images["score"].tobytes() for r in results}


# ---------------------------------------------------------------- what a bundle gives


def test_every_combination_has_one_complete_result(ran):
    results = ran(
        datasets="toy-data",
        preprocessors="none,toy-dim",
        models="toy-mean,toy-trained",
        augmenters="none,toy-square",
        scorers="toy-map,toy-fitted",
        seeds=2,
    )
    # category x preprocessor x (toy-mean + toy-trained x augmenter) x scorer x seed
    assert len(results) == 2 * 2 * (1 + 2) * 2 * 2
    assert len({r.trial.id for r in results}) == len(results)
    for r in results:
        assert r.status == "ok", r.failures
        assert r.images["score"].shape == (IMAGES["test"],)
        assert r.images["label"].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
        assert r.images["path"][0] == f"{r.trial.category}/test/good/0.png"
        assert all(math.isfinite(value) for value in r.metrics.values())
        assert r.provenance["images"] == {"train": 4, "validation": 0, "test": 8}
        assert ("pixel_auroc" in r.metrics) == (r.trial.scorer.name == "toy-map")
        assert {"image_auroc", "fit_seconds", "params", "flops", "peak_mb"} <= set(r.metrics)


def test_scores_are_those_of_a_run_by_hand(ran, catalogue):
    (result,) = ran()
    dataset = catalogue.get("dataset", "toy-data")()
    root = folders.locate(dataset, None, {})
    samples = dataset.samples(root, "dark", 0)

    def pixels(part):
        images = [decoding.decode(sample.image) for sample in samples if sample.split == part]
        inputs = [geometry.to_input(image, InputSpec(32, None)) for image in images]
        return torch.stack(inputs).float() / 255

    expected = (pixels("test") - pixels("train").mean(0)).abs().mean(1).amax((1, 2))
    assert result.images["score"] == pytest.approx(expected.numpy(), rel=1e-5)
    assert result.metrics["image_auroc"] == 1


def test_kept_maps_give_the_pixel_metrics_again(planned, ran):
    (bundle,) = planned(keep_maps=True)
    (result,) = run_bundle(bundle)
    assert result.maps.spec == InputSpec(32, None)
    met = geometry.met(
        zip(result.maps.values, truth(bundle), strict=True),
        result.maps.spec,
        result.trial.evaluation,
    )
    pixels = Ranking.of_pixels(*zip(*met, strict=True))
    again = {
        "pixel_auroc": pixels.auroc(),
        "pixel_ap": pixels.average_precision(),
        "pixel_f1": pixels.f1_max(),
        "aupro": pixels.aupro(0.3),
    }
    assert again == pytest.approx({name: result.metrics[name] for name in again}, abs=1e-4)
    (without,) = ran()
    assert not without.maps


def truth(bundle):
    trial = bundle.trials[0]
    dataset = load(bundle.plugins).get("dataset", trial.dataset.name)()
    samples = dataset.samples(Path(bundle.root), trial.category, 0)
    return [masks.union(s, dataset.mask_threshold, (40, 48)) for s in samples if s.split == "test"]


def test_classification_from_images_to_accuracy(planned):
    (bundle,) = planned(
        protocol="classification", models="toy-classes", scorers="softmax", metrics=None
    )
    (result,) = run_bundle(bundle)
    assert result.status == "ok"
    # Two of three images of a defect type are learned; the good ones of the test part play no part.
    assert result.provenance["images"] == {"train": 8, "validation": 0, "test": 2}
    names = result.images["class"].tolist()
    assert names == ["good", "scratch", "spot"]
    assert result.images["probability"].sum(1) == pytest.approx(np.ones(2))
    assert sorted(result.images["defect"].tolist()) == ["scratch", "spot"]
    expected = nearest_classes(bundle, names)
    assert {names[i] for i in expected} <= set(names)
    assert result.images["probability"].argmax(1).tolist() == expected
    right = [names[i] for i in expected] == result.images["defect"]
    assert result.metrics["accuracy"] == np.mean(right)
    assert "image_auroc" not in result.metrics
    assert "pixel_auroc" not in result.metrics


def nearest_classes(bundle, names):
    """The class of the nearest class mean of each test image, from the files."""
    trial, root = bundle.trials[0], Path(bundle.root)
    dataset = load(bundle.plugins).get("dataset", trial.dataset.name)()
    samples = draw.classification(root, dataset.samples(root, trial.category, 0), 0)
    pixels = [
        geometry.to_input(decoding.decode(s.image), InputSpec(32, None)).float() for s in samples
    ]

    def mean(name):
        known = [
            p
            for p, s in zip(pixels, samples, strict=True)
            if (s.split, s.defect) == ("train", name)
        ]
        return torch.stack(known).mean(0)

    means = torch.stack([mean(name) for name in names])
    test = [p for p, s in zip(pixels, samples, strict=True) if s.split == "test"]
    return [int((image - means).square().flatten(1).sum(1).argmin()) for image in test]


# ---------------------------------------------------------------- what breaks costs its own


@pytest.mark.parametrize(
    ("model", "stage", "message", "line"),
    [
        ("toy-raises", "fit", "RuntimeError: the toy broke", "in fit"),
        ("toy-nan", "predict", "AnomalyMap holds a value that is not finite", "check_outputs"),
        ("toy-short", "predict", "AnomalyMap: 7 entries for a batch of 8 images", "check_outputs"),
        ("probe-handles", "cost", "RuntimeError: who is this?", "in predict"),
        (
            "probe-undeclared",
            "fit",
            "the model asks for probe-backbone fine without having declared it",
            "in features",
        ),
    ],
)
def test_a_broken_model_costs_its_own_trials(ran, model, stage, message, line):
    results = ran(models=f"toy-mean,{model},probe-brightness", scorers="toy-map,probe-random")
    assert len(results) == 6
    for result in results:
        if result.trial.model.name != model:
            assert result.status == "ok"
            continue
        assert result.status == "failed"
        (failure,) = result.failures
        assert failure.stage == stage
        assert failure.message.startswith(message)
        assert line in failure.traceback
        assert "image_auroc" not in result.metrics
    neighbours = [r for r in results if r.status == "ok"]
    alone = ran(models="toy-mean,probe-brightness", scorers="toy-map,probe-random")
    assert scores(neighbours) == scores(alone)


def test_a_broken_scorer_costs_its_own_trial(ran):
    ok, failed = ran(scorers="toy-map,toy-raises")
    assert ok.status == "ok"
    assert failed.trial.scorer.name == "toy-raises"
    (failure,) = failed.failures
    assert (failure.stage, failure.message) == ("score", "RuntimeError: the scorer broke")
    assert "score" not in failed.images
    assert scores([ok]) == scores(ran())


def test_a_broken_metric_leaves_the_others(ran):
    (result,) = ran(metrics=["image_auroc", "probe_raises", "pixel_auroc"])
    (failure,) = result.failures
    assert failure.stage == "metric probe_raises"
    assert failure.message == "ZeroDivisionError: no negatives"
    assert result.metrics["image_auroc"] == 1
    assert "pixel_auroc" in result.metrics


def test_classes_that_do_not_exist_cost_their_own_trial(ran):
    results = ran(
        protocol="classification",
        models="toy-classes",
        scorers="probe-misnamed,softmax",
        metrics=["accuracy"],
    )
    assert [r.status for r in results] == ["failed", "ok"]
    assert results[0].failures[0].stage == "metrics"


@pytest.mark.usefixtures("own_data")
def test_a_mask_of_another_size_costs_its_category(planned):
    dark, light = planned(datasets="toy-data")
    mask = Path(dark.root) / "dark" / "ground_truth" / "spot" / "1.png"
    cv2.imwrite(str(mask), np.zeros((8, 8), np.uint8))
    (failed,), (ok,) = run_bundle(dark), run_bundle(light)
    assert ok.status == "ok"
    assert failed.failures[0].stage == "metrics"
    assert str(mask) in failed.failures[0].message
    assert "image_auroc" not in failed.metrics


@pytest.mark.usefixtures("own_data")
def test_an_unreadable_image_costs_its_bundle(planned):
    dark, light = planned(datasets="toy-data", scorers="toy-map,toy-fitted")
    broken = Path(dark.root) / "dark" / "test" / "spot" / "1.png"
    broken.write_bytes(b"no picture")
    failed, ok = list(run_bundle(dark)), list(run_bundle(light))
    assert [r.status for r in ok] == ["ok", "ok"]
    for result in failed:
        (failure,) = result.failures
        assert failure.stage == "preprocess"
        assert str(broken) in failure.message


def test_a_broken_backbone_costs_the_models_that_use_it(ran):
    broken = "probe-features:backbone=probe-broken-backbone"
    results = by_name(ran(models=f"toy-mean,{broken}"))
    assert results["toy-mean"].status == "ok"
    (failure,) = results["probe-features"].failures
    assert failure.stage == "fit"
    assert failure.message == "RuntimeError: no such network"


def test_a_preprocessor_that_changes_geometry_costs_its_bundle(planned):
    none, smaller = planned(preprocessors="none,probe-smaller")
    assert [r.status for r in run_bundle(none)] == ["ok"]
    (failed,) = run_bundle(smaller)
    (failure,) = failed.failures
    assert failure.stage == "preprocess"
    assert "made uint8 (20, 24, 3) of a uint8 (40, 48, 3) image" in failure.message


def test_a_preprocessor_that_writes_into_its_input_harms_nobody(ran):
    def run_with(chain):
        (result,) = ran(preprocessors=chain, models="probe-brightness")
        return result.images["score"].tolist()

    assert run_with("probe-in-place") == run_with("probe-negative")
    assert run_with("probe-in-place+probe-in-place") == run_with("none")


# ---------------------------------------------------------------- what is shared

SHARING = """
import torch
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap, InputSpec, Level, Metric, Model, Outputs, Preprocessor, Scorer, Scores)

class Updating(Model):
    name, summary, version = "updating", "Its mean follows what it sees.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(resize=16, crop=None)
    transductive = updates_in_predict = True
    def fit(self, train, tools):
        self.mean = sum(batch.images.sum(0) for batch in train.batches()) / len(train)
    def predict(self, batch):
        far = (batch.images - self.mean).abs().mean(1)
        self.mean = 0.5 * self.mean + 0.5 * batch.images.mean(0)
        return Outputs((16, 16), AnomalyMap((Level(far),)))

class Highest(Scorer):
    name, summary, version = "highest", "The highest value of a map.", 1
    accepts = frozenset({AnomalyMap})
    def score(self, outputs):
        values = outputs[AnomalyMap].levels[0].values
        return Scores(image=values.flatten(1).amax(1), map=values)

class Fitted(Highest):
    name, summary = "fitted", "Looks at the training images' maps twice."
    def fit(self, outputs, generator):
        self.seen = sum(len(list(outputs)) for _ in range(2))

class Scaled(Highest):
    name, summary = "scaled", "The share of the highest value of all test images."
    def __init__(self, *, transductive: bool = True):
        self.transductive = transductive
        self.highest = 1
    def adapt(self, outputs):
        highest = [super(Scaled, self).score(o).image for o in outputs]
        self.seen, self.highest = sum(map(len, highest)), max(h.max() for h in highest)
    def score(self, outputs):
        scores = super().score(outputs)
        return Scores(image=scores.image / self.highest, map=scores.map / self.highest)

class InPlace(Highest):
    name, summary = "in-place", "Writes into the maps."
    def score(self, outputs):
        outputs[AnomalyMap].levels[0].values.zero_()
        return super().score(outputs)

def spoil(seen):
    seen.scores[:] = 0
    for mask in seen.masks:
        mask[:] = False
    return 0.0

@hookimpl
def adbench_models(): return [Updating]
@hookimpl
def adbench_scorers(): return [InPlace, Highest, Fitted, Scaled]
@hookimpl
def adbench_metrics(): return [Metric("spoiling", "Writes into what it gets.", spoil, "map")]
"""


@pytest.fixture
def sharing(ran, tmp_path, toys):
    path = tmp_path / "sharing.py"
    path.write_text(SHARING)
    usual = {"datasets": "toy-data", "models": "updating", "scorers": "highest"}

    def run_with(**asked):
        results = ran(**{"plugins": [str(path), toys], **usual, **asked})
        return {(r.trial.category, r.trial.scorer.name): r for r in results}

    return run_with


def test_a_model_that_updates_itself_starts_from_its_fitted_state(sharing):
    alone = sharing()
    beside = sharing(scorers="fitted,highest")
    together = sharing(unified=True)
    backwards = sharing(unified=True, datasets="toy-data/light,toy-data/dark")
    assert len(alone) == 2
    for key, result in alone.items():
        assert beside[key].metrics["image_auroc"] == result.metrics["image_auroc"]
        np.testing.assert_array_equal(beside[key].images["score"], result.images["score"])
        np.testing.assert_array_equal(together[key].images["score"], backwards[key].images["score"])


def test_only_a_transductive_scorer_sees_all_test_images_first(sharing):
    usual = {"models": "toy-mean", "datasets": "toy-data/dark", "validation": 0.5}
    plain = sharing(**usual)["dark", "highest"]
    for transductive in (True, False):
        scorer = f"scaled:transductive={str(transductive).lower()}"
        result = sharing(**usual, scorers=scorer)["dark", "scaled"]
        assert result.status == "ok", result.failures
        assert ("transductive" in result.flags) == transductive
        scores = plain.images["score"]
        highest = scores.max() if transductive else 1
        np.testing.assert_allclose(result.images["score"], scores / highest, rtol=1e-6)
        held_out = result.images["validation"]  # scored on the same scale
        np.testing.assert_allclose(held_out, plain.images["validation"] / highest, rtol=1e-6)


def test_a_scorer_that_writes_into_the_outputs_fails_alone(sharing):
    alone, beside = sharing(), sharing(scorers="in-place,highest")
    for (category, scorer), result in beside.items():
        if scorer == "in-place":
            assert "score modified the model's outputs in place" in result.failures[0].message
        else:
            expected = alone[category, scorer].metrics
            assert result.metrics["image_auroc"] == expected["image_auroc"]


def test_a_metric_that_writes_into_the_truth_fails_alone(sharing):
    wanted = ["image_auroc", "pixel_auroc"]
    alone, beside = sharing(metrics=wanted), sharing(metrics=["spoiling", *wanted])
    for key, result in beside.items():
        assert [failure.stage for failure in result.failures] == ["metric spoiling"]
        assert "read-only" in result.failures[0].message
        assert result.measured
        for name in wanted:
            assert result.metrics[name] == alone[key].metrics[name]


# ---------------------------------------------------------------- determinism


def test_a_trial_is_the_same_whatever_runs_beside_it(planned):
    asked = {
        "models": "toy-mean,toy-trained,probe-features:layer=fine,probe-features:layer=coarse",
        "augmenters": "none,toy-square",
        "scorers": "probe-random,probe-random:spread=2",
        "seeds": 2,
    }
    (bundle,) = planned(**asked)
    together = scores(run_bundle(bundle))
    assert len(together) == 20
    assert scores(run_bundle(bundle)) == together
    backwards = replace(bundle, trials=bundle.trials[::-1])
    assert scores(run_bundle(backwards)) == together
    alone = {}
    for trial in bundle.trials[::3]:
        alone |= scores(run_bundle(replace(bundle, trials=(trial,))))
    assert alone == {trial_id: together[trial_id] for trial_id in alone}


def test_seeds_differ(ran):
    first, second = ran(models="toy-trained", augmenters="toy-square", seeds=[3, 4])
    assert first.images["score"].tolist() != second.images["score"].tolist()


def test_models_see_the_test_images_in_an_order_of_the_seed(planned, monkeypatch):
    (bundle,) = planned(models="probe-brightness", seeds=3)
    model = load(bundle.plugins).get("model", "probe-brightness")
    orders, predict = [], model.predict

    def watched(self, batch):
        if batch.handles is not None:
            orders.append(batch.images.flatten(1).sum(1).tolist())
        return predict(self, batch)

    monkeypatch.setattr(model, "predict", watched)
    assert all(r.status == "ok" for r in run_bundle(bundle))
    assert len(orders) == 3
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


# ---------------------------------------------------------------- nothing is done twice


def test_a_model_is_fitted_once_for_its_scorers(planned):
    (bundle,) = planned(
        models="probe-features", scorers="toy-map,toy-map:pool=mean,probe-random", seeds=2
    )
    model = load(bundle.plugins).get("model", "probe-features")
    before = model.fits
    assert len(list(run_bundle(bundle))) == 6
    assert model.fits - before == 2


# ---------------------------------------------------------------- costs


def test_parameters_and_flops_are_exact(ran):
    results = by_name(ran(models="probe-convolution,probe-features,toy-mean"))
    convolution = results["probe-convolution"].metrics
    assert convolution["params"] == 4 * 3 * 9 + 4
    assert convolution["flops"] == 2 * 32 * 32 * 4 * 3 * 9
    # The backbone as far as the model needs it, and what the model itself remembers.
    features = results["probe-features"].metrics
    assert features["params"] == 4 * 3 * 9 + 4 * 32 * 32
    assert features["flops"] == 2 * 32 * 32 * 4 * 3 * 9
    assert results["toy-mean"].metrics["flops"] == 0


def test_seconds_and_megabytes_are_those_spent(ran):
    (result,) = ran(models="probe-slow:fit=0.2:predict=0.02:megabytes=64", scorers="toy-map")
    metrics = result.metrics
    assert 0.2 <= metrics["fit_seconds"] < 2
    assert 20 <= metrics["ms_per_image"] < 200
    assert 20 / IMAGES["test"] <= metrics["ms_per_image_batched"] < metrics["ms_per_image"]
    assert 60 <= metrics["peak_mb"] < 600
    assert result.seconds_alone["fit"] >= 0.2
    assert result.seconds_alone["predict"] >= 0.02
    stages = {"load", "preprocess", "fit", "scorer fit", "predict", "score", "cost", "metrics"}
    assert set(result.seconds_alone) == stages - {"scorer fit"}
    # Every second of the run is in one stage or in what is left over.
    assert set(result.seconds_shared) == set(result.seconds_alone) | {"other"}
    assert result.seconds_shared["fit"] == pytest.approx(result.seconds_alone["fit"])


def test_shared_features_are_charged_to_each_fit_that_used_them(ran):
    *users, other = ran(models="probe-features:layer=fine,probe-features:layer=coarse,toy-mean")
    for result in users:
        spent = result.seconds_alone["features train"] + result.seconds_alone["fit"]
        assert result.metrics["fit_seconds"] >= spent
    assert other.trial.model.name == "toy-mean"
    assert "features train" not in other.seconds_alone


def test_every_second_is_told_once_and_what_is_shared_counts_in_each(planned):
    slow = "probe-slow:fit=0.2:predict=0.02"
    (bundle,) = planned(models=f"{slow},toy-raises", scorers="toy-map,probe-random", seeds=2)
    trials = run_bundle(bundle)
    results, took = [], 0.0
    for _ in bundle.trials:
        start = time.perf_counter()
        results.append(next(trials))
        took += time.perf_counter() - start
        time.sleep(0.05)  # what the taker does with a result is not the run's
    told = sum(sum(result.seconds_shared.values()) for result in results)
    assert told == pytest.approx(took, rel=0.05)
    assert all(result.seconds_shared["other"] > -1e-6 for result in results)
    slow_ones = [r for r in results if r.trial.model.name == "probe-slow"]
    fits = sum(r.seconds_shared.get("fit", 0.0) for r in slow_ones)
    assert fits >= 0.4
    # Two scorers each.
    assert sum(r.seconds_alone["fit"] for r in slow_ones) == pytest.approx(2 * fits)
    for stage in ("score", "metrics"):  # nobody shares these
        spent = sum(r.seconds_shared.get(stage, 0.0) for r in results)
        assert spent == pytest.approx(sum(r.seconds_alone.get(stage, 0.0) for r in results))
    failed = [r for r in results if r.trial.model.name == "toy-raises"]
    assert all("fit" in r.seconds_alone for r in failed)


def test_costs_that_scorers_share_are_measured_once(planned, monkeypatch):
    (bundle,) = planned(models="probe-brightness", scorers="toy-map,toy-map:pool=mean")
    model = load(bundle.plugins).get("model", "probe-brightness")
    seen, predict = [], model.predict

    def watched(self, batch):
        seen.append((len(batch), batch.handles is None))
        return predict(self, batch)

    monkeypatch.setattr(model, "predict", watched)
    both = list(run_bundle(bundle))
    for_two = [one for one in seen if one[1]]
    seen.clear()
    list(run_bundle(replace(bundle, trials=bundle.trials[:1])))
    assert for_two == [one for one in seen if one[1]] != []
    assert all(result.metrics["ms_per_image"] > 0 for result in both)


def test_latency_is_the_models_and_the_scorers_alone(ran, monkeypatch):
    check = contract.check_outputs

    def slow(*args, **kwargs):
        time.sleep(1)
        check(*args, **kwargs)

    monkeypatch.setattr(contract, "check_outputs", slow)
    (result,) = ran(models="probe-brightness")
    assert result.metrics["ms_per_image"] < 500


def test_image_auroc_has_its_interval(ran):
    (result,) = ran(scorers="probe-random", models="toy-mean")
    known = result.images["label"] >= 0
    low, high = delong.interval(result.images["score"][known], result.images["label"][known] == 1)
    assert result.intervals == {"image_auroc": (low, high)}
    assert low <= result.metrics["image_auroc"] <= high


# ---------------------------------------------------------------- interruptions, other processes


def test_an_interrupted_training_goes_on_to_the_same_end(planned, tmp_path):
    asked = {"models": "toy-trained", "augmenters": "toy-square"}
    (undisturbed,) = planned(**asked)
    (bundle,) = planned(str(tmp_path / "checkpoints"), **asked)
    steps = []

    def stop(stage, done, total):
        if stage == "fit":
            steps.append(done)
            if done == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_bundle(bundle, Watch(stop)))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    again = scores(run_bundle(bundle, Watch(stop)))
    assert steps == [1, 2, 3, 4, 5, 6]
    assert again == scores(run_bundle(undisturbed))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_checkpoint_serves_no_other_training(planned, tmp_path):
    folder = str(tmp_path / "checkpoints")
    (first,) = planned(folder, models="toy-trained", seeds=[0])
    (other,) = planned(folder, models="toy-trained", seeds=[1])
    (undisturbed,) = planned(models="toy-trained", seeds=[1])

    def stop(stage, done, total):
        if stage == "fit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_bundle(first, Watch(stop)))
    assert scores(run_bundle(other)) == scores(run_bundle(undisturbed))


def test_a_bundle_runs_in_another_process(planned, tmp_path):
    (bundle,) = planned(models="toy-mean,toy-raises", augmenters="none", seeds=2)
    given, came = tmp_path / "bundle", tmp_path / "results"
    given.write_bytes(pickle.dumps(bundle))
    code = (
        "import pickle, sys; from pathlib import Path;"
        "from adbench_harness.running.bundle import run_bundle;"
        "given, came = map(Path, sys.argv[1:]);"
        "came.write_bytes(pickle.dumps(list(run_bundle(pickle.loads(given.read_bytes())))))"
    )
    subprocess.run([sys.executable, "-c", code, str(given), str(came)], check=True, cwd=tmp_path)
    there, here = pickle.loads(came.read_bytes()), list(run_bundle(bundle))
    assert [r.trial for r in there] == [r.trial for r in here]
    assert [r.status for r in there] == [r.status for r in here]
    ok = [r for r in there if r.status == "ok"]
    assert scores(ok) == scores(r for r in here if r.status == "ok")
    assert json.dumps(there[0].provenance)


def test_progress_counts_up_to_its_total(planned):
    (bundle,) = planned(models="probe-features,toy-trained")
    told = []
    list(run_bundle(bundle, Watch(lambda *said: told.append(said))))
    assert {stage for stage, _, _ in told} == {"images", "features", "fit", "score"}
    assert all(0 < done <= total for _, done, total in told)
    assert [done for stage, done, _ in told if stage == "images"] == list(range(1, 13))
