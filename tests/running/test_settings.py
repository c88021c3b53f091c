"""What a model sees under each protocol and setting, and what a result keeps of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from adbench_harness.errors import UserError
from adbench_harness.images import decoding, folders
from adbench_harness.planning import plan, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.running import features
from adbench_harness.running.bundle import load, run_bundle

OBSERVERS = str(Path(__file__).parent.with_name("observers.py"))


@pytest.fixture
def run(toys):
    """Runs a suite and gives its results and what the observers noted."""

    def make(weights=None, **asked):
        defaults = {"plugins": [toys, OBSERVERS], "datasets": "toy-data", "models": "watcher"}
        defaults |= {"scorers": "own", "preprocessors": "none", "augmenters": "none"}
        checked = suite.validate(defaults | asked, "test")
        catalogue = load(tuple(checked.plugins))
        seen = catalogue.manager.get_plugin("observers").SEEN
        seen.clear()
        made = plan.make(checked, catalogue, Locations(weights=weights), device="cpu")
        results = [result for bundle in made.bundles for result in run_bundle(bundle)]
        assert all(not r.failures for r in results), [r.failures for r in results]
        return results, seen

    return make


def test_by_default_a_model_learns_from_every_normal_image(run):
    results, seen = run()
    assert seen["train"] == [4, 4]
    assert seen["held out"] == [0, 0]
    assert set(seen["names"]) == {()}  # no model is told its category unasked
    assert set(seen["categories"]) == {()}
    assert {r.trial.setting for r in results} == {""}
    assert all("validation" not in r.images for r in results)


def test_shots_are_drawn_by_their_own_seed(run):
    results, seen = run(datasets="toy-data/dark", shots=[1, 2], shot_seeds=3)
    assert seen["train"] == [1, 1, 1, 2, 2, 2]
    assert len({tuple(m) for m in seen["means"][3:]}) > 1  # another seed, other images
    _, seen_again = run(datasets="toy-data/dark", shots=[1, 2], shot_seeds=3)
    assert seen_again["means"] == seen["means"]
    assert [r.trial.setting for r in results] == ["1-shot"] * 3 + ["2-shot"] * 3
    assert len({r.trial.id for r in results}) == 6
    assert len({r.trial.fingerprint for r in results}) == 1  # the test images are the same
    # One more shot adds an image to those that fewer shots drew.
    for one, two in zip(seen["means"][:3], seen["means"][3:], strict=True):
        assert set(one) < set(two)


def test_more_shots_than_images_are_refused(run):
    with pytest.raises(UserError, match=r"category 'dark': 5 shots, but only 4 training images"):
        run(shots=5)


def test_held_out_normals_reach_scorer_and_result(run):
    results, seen = run(datasets="toy-data/dark", validation=0.25, scorers="threshold")
    assert seen["train"] == [3]
    assert seen["held out"] == [1]
    [(first, second, count, held, drawn)] = seen["scorer"]
    assert (first, second, count, held) == (3, 3, 3, 1)
    assert 0 <= drawn < 1
    [result] = results
    assert result.images["validation"].shape == (1,)
    assert result.provenance["images"] == {"train": 3, "validation": 1, "test": 8}
    every, _ = run(datasets="toy-data/dark", scorers="threshold")
    assert result.trial.id != every[0].trial.id
    with pytest.raises(UserError, match=r"validation 0.9 of 4 normal .* leaves none"):
        run(validation=0.9)


def test_zero_shot_models_get_no_images(run):
    results, seen = run(protocol="zero-shot")
    assert seen["train"] == [0, 0]
    assert {r.trial.setting for r in results} == {"zero-shot"}
    assert all(np.isfinite(r.metrics["image_auroc"]) for r in results)


def test_a_model_that_needs_images_is_left_out_of_zero_shot(run):
    with pytest.raises(UserError, match=r"toy-mean: supports unsupervised"):
        run(protocol="zero-shot", models="toy-mean")


def test_a_unified_model_is_fitted_once_to_all_categories(run):
    alone, _ = run(models="watcher")
    results, seen = run(models="watcher,informed", unified=True)
    assert seen["train"] == [8, 8]
    assert sorted((r.trial.model.name, r.trial.category) for r in results) == [
        ("informed", "dark"),
        ("informed", "light"),
        ("watcher", "dark"),
        ("watcher", "light"),
    ]
    assert {r.trial.setting for r in results} == {"unified"}
    for result in results:
        [other] = [r for r in alone if r.trial.category == result.trial.category]
        # The images are those of the category's own trial, so the two can stand side by side.
        assert result.trial.fingerprint == other.trial.fingerprint
        assert result.images["path"].tolist() == other.images["path"].tolist()
        np.testing.assert_allclose(result.images["score"], other.images["score"], rtol=1e-6)
        assert result.metrics["image_auroc"] == pytest.approx(other.metrics["image_auroc"])
        assert ("knows the category" in result.flags) == (result.trial.model.name == "informed")
    assert seen["names"] == [(), ("dark", "light")]


def test_a_unified_model_of_one_category_still_learns_from_all(run):
    results, seen = run(datasets="toy-data/dark", unified=True)
    assert seen["train"] == [8]
    assert [r.trial.category for r in results] == ["dark"]
    both, _ = run(unified=True)
    assert results[0].trial.id in {r.trial.id for r in both}


def test_a_model_may_know_its_category(run):
    _, seen = run(models="informed", datasets="toy-data/light")
    assert seen["names"] == [("light",)]
    assert all(names == ("light",) * len(names) for names in seen["categories"])
    assert any(seen["categories"])


def test_further_images_of_a_sample_travel_with_the_batch(run):
    _, seen = run(models="deep", datasets="deep-toys/dark")
    shapes = {shape[1:] for shape, _ in seen["depth"]}
    assert shapes == {(3, 40, 48)}
    assert max(highest for _, highest in seen["depth"]) == 240  # in the file's own values


def test_a_data_set_without_the_further_images_fails_its_trial(toys):
    checked = suite.validate(
        {"plugins": [toys, OBSERVERS], "datasets": "toy-data/dark", "models": "deep"}
        | {"scorers": "own", "preprocessors": "none"},
        "test",
    )
    catalogue = load(tuple(checked.plugins))
    [bundle] = plan.make(checked, catalogue, Locations(), device="cpu").bundles
    [result] = run_bundle(bundle)
    assert "has no depth image beside it; the data set provides none" in result.failures[0].message


def test_weights_of_a_models_own_are_found_and_hashed(run, tmp_path):
    with pytest.raises(
        UserError, match=r"the weights 'own.bin' of model 'weighted' were not found"
    ):
        run(models="weighted")
    (tmp_path / "own.bin").write_bytes(b"1234")
    results, seen = run(models="weighted", datasets="toy-data/dark", weights=str(tmp_path))
    assert seen["weights"] == [b"1234"]
    [used] = results[0].trial.weights
    assert used.sha256 == hashlib.sha256(b"1234").hexdigest()
    (tmp_path / "own.bin").write_bytes(b"12345")
    other, _ = run(models="weighted", datasets="toy-data/dark", weights=str(tmp_path))
    assert other[0].trial.id != results[0].trial.id
    (tmp_path / "own.bin").rename(tmp_path / "teacher-mine.pth")
    path = str(tmp_path / "teacher-mine.pth")
    again, seen = run(models="weighted", datasets="toy-data/dark", weights=path)
    assert seen["weights"] == [b"12345"]
    assert again[0].trial.id == other[0].trial.id


def test_a_backbone_may_have_another_input_than_the_model(run):
    _, seen = run(models="zoomed", datasets="toy-data/dark")
    [(own, other)] = seen["grids"]
    assert own[-2:] == (10, 12)  # 40 x 48 px at stride 4
    assert other[-2:] == (24, 24)  # 96 x 96 px
    # Altered images are resized to the same input: what is left is the rounding of pixels.
    assert seen["difference"][0] < 0.2
    assert set(seen["size"]) == {(40, 48)}


def test_costs_of_a_model_that_changes_in_predict_are_measured_on_a_copy(run):
    _, seen = run(models="adaptive", datasets="toy-data/dark")
    first = seen["offset"][0][0]
    scored = [offset for identity, offset in seen["offset"] if identity == first]
    assert scored == [8.0]  # one batch of eight test images, and nothing of the timing
    assert len(seen["offset"]) > 1


def test_work_is_shared_across_categories_and_chains(run, toys, monkeypatch, tmp_path):
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path))
    counts: Counter[str] = Counter()

    def counting(owner, name):
        real = getattr(owner, name)

        def counted(*args, **kwargs):
            counts[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    counting(decoding, "decode")
    counting(features, "load")
    counting(load((toys, OBSERVERS)).get("dataset", "toy-data"), "samples")
    folders._contents.cache_clear()
    features._loaded.cache_clear()
    run(models="zoomed", preprocessors="none,toy-dim", set={"zoomed.zoom": 40})
    misses = folders._contents.cache_info().misses
    # Two categories of twelve images; the latency of each bundle decodes one image again.
    assert counts["decode"] == 24 + 4
    assert misses == 24
    assert counts["load"] == 1
    assert counts["samples"] == 2
