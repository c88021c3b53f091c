from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adbench_harness.compare import compare
from adbench_harness.planning.suite import Tolerance
from adbench_harness.results.store import Heading
from adbench_harness.results.trial import Choice, EvaluationSettings, Weights

from .conftest import LABELS, TRIAL, failed, result, scores

NUMBERS = Tolerance(metrics=0.01, scores=0.1, noise=3)


@pytest.fixture
def verdict(stored):
    """The one pair of comparing ``old`` with ``new``, and the exit code."""
    number = itertools.count()

    def pair(old, new, tolerance=NUMBERS):
        stores = [stored(f"{next(number)}", *filter(None, [one])) for one in (old, new)]
        found = compare(*stores, tolerance)
        (one,) = found.pairs
        return one, found.exit_code

    return pair


def test_the_same_is_as_good(verdict):
    pair, code = verdict(result(), result())
    assert (pair.verdict, code) == ("as good", 0)
    assert {one.verdict for one in pair.differences} == {"as good"}


@pytest.mark.parametrize(
    ("metrics", "wanted", "exit_code"),
    [
        ({"aupro": 0.791}, "as good", 0),
        ({"aupro": 0.789}, "worse", 1),
        ({"aupro": 0.9}, "changed", 1),
        ({"params": 1001.0}, "worse", 1),
        ({"params": 999.0}, "better", 0),
        ({"flops": 5e6 + 1}, "worse", 1),
        ({"fit_seconds": 5.9}, "as good", 0),
        ({"fit_seconds": 6.1}, "worse", 1),
        ({"peak_mb": 2701.0}, "worse", 1),
        ({"ms_per_image": 1.0}, "as good", 0),
        ({"params": 999.0, "aupro": 0.7}, "worse", 1),
    ],
)
def test_metrics_have_a_direction_and_a_tolerance(verdict, metrics, wanted, exit_code):
    pair, code = verdict(result(), result(**metrics))
    assert (pair.verdict, code) == (wanted, exit_code)
    assert {one.metric for one in pair.differences if one.verdict != "as good"} <= metrics.keys()


def test_a_plugin_says_which_way_its_own_metric_is_better(verdict):
    old = result(depth_error=0.5)
    error = Heading("depth error", "", higher_is_better=False)
    old = replace(old, columns={**old.columns, "depth_error": error})
    assert verdict(old, result(depth_error=0.6))[0].verdict == "worse"
    assert verdict(old, result(depth_error=0.4))[0].verdict == "changed"


def test_each_metric_may_have_its_own(verdict):
    own = Tolerance(metrics=0.01, each={"aupro": 0.2, "flops": 1.1, "fit_seconds": 1.5})
    assert verdict(result(), result(aupro=0.61, flops=5.4e6), own)[1] == 0
    assert verdict(result(), result(flops=5.6e6), own)[0].verdict == "worse"
    assert verdict(result(), result(fit_seconds=3.1), own)[0].verdict == "worse"


class TestPairedTest:
    """A fall of the image AUROC is worse only where the test does not put it down to chance."""

    def test_a_fall_that_the_test_sees_is_worse(self, verdict):
        noise = np.random.default_rng(1).normal(size=40).astype(np.float32)
        pair, code = verdict(result(), result(score=noise, image_auroc=0.5))
        assert (pair.verdict, code) == ("worse", 1)
        assert pair.images.p < 0.05

    def test_one_that_may_be_chance_is_changed(self, verdict):
        other = scores()
        other[[3, 25]] = other[[25, 3]]
        pair, code = verdict(result(), result(score=other, image_auroc=0.87))
        assert pair.images.p > 0.05
        assert (pair.verdict, code) == ("changed", 1)

    def test_where_it_cannot_decide_the_tolerance_does(self, verdict):
        perfect = LABELS.astype(np.float32)
        one_wrong = perfect.copy()
        one_wrong[0] = 2
        old = result(score=perfect, image_auroc=1.0)
        pair, _ = verdict(old, result(score=one_wrong, image_auroc=0.95))
        assert np.isnan(pair.images.p)
        assert pair.verdict == "worse"

    def test_it_has_no_say_in_maps(self, verdict):
        other = scores()
        other[[3, 25]] = other[[25, 3]]
        assert verdict(result(), result(score=other, aupro=0.7))[0].verdict == "worse"


def test_scores_that_moved_are_changed_though_no_metric_is(verdict):
    pair, code = verdict(result(), result(score=2 * scores()))
    assert (pair.verdict, code) == ("changed", 1)
    assert pair.images.moved > 30


def test_scores_within_rounding_are_as_good(verdict):
    assert verdict(result(), result(score=scores() * np.float32(1 + 1e-6)))[0].verdict == "as good"


@pytest.mark.parametrize("gone", ["aupro", "params", "fit_seconds", "ms_per_image"])
def test_a_metric_or_cost_that_went_missing(verdict, gone):
    new = result()
    metrics = {name: value for name, value in new.metrics.items() if name != gone}
    pair, code = verdict(result(), replace(new, metrics=metrics))
    assert (pair.verdict, code) == ("missing", 1)


def test_failed_missing_and_new(verdict):
    pair, code = verdict(result(), failed())
    assert (pair.verdict, code) == ("failed", 1)
    assert verdict(failed(), failed())[0].verdict == "failed"
    missing, code = verdict(result(), None)
    assert (missing.verdict, code, missing.trial) == ("missing", 1, TRIAL)
    new, code = verdict(None, result())
    assert (new.verdict, code) == ("new", 0)
    assert verdict(failed(), result())[0].verdict == "new"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": replace(TRIAL.model, version=2)},
            "version of patchcore: 1 → 2",
        ),
        ({"scorer": replace(TRIAL.scorer, version=3)}, "version of nn: 1 → 3"),
        ({"dataset": Choice("mini", 2)}, "version of mini: 1 → 2"),
        (
            {"preprocessors": (replace(TRIAL.preprocessors[0], version=2),)},
            "version of mean: 1 → 2",
        ),
        ({"weights": (Weights("embedded", 2),)}, "version of embedded: 1 → 2"),
        (
            {"weights": (Weights("embedded", 1, None, "f370" * 16),)},
            "weights of embedded: none → f370f370",
        ),
        ({"fingerprint": "fedcba9876543210"}, "images of mini/grass: 01234567 → fedcba98"),
        ({"metrics": ("image_auroc@2", "aupro@1")}, "version of image_auroc: 1 → 2"),
        (
            {"scorer": replace(TRIAL.scorer, params={"sigma": 5})},
            "sigma of nn: 4 → 5",
        ),
    ],
)
def test_another_version_asks_for_a_new_baseline(verdict, change, said):
    pair, code = verdict(result(), result(replace(TRIAL, **change), aupro=0.1))
    assert (pair.verdict, code, pair.versions) == ("re-baseline", 2, (said,))


def test_a_component_within_a_component_has_a_version_too(verdict):
    def using(version):
        detector = Choice("padim", version).plain()
        return replace(TRIAL, model=Choice("afps", 1, {"detector": detector}))

    pair, _ = verdict(result(using(1)), result(using(2)))
    assert pair.versions == ("version of padim: 1 → 2",)


def test_what_came_in_addition_is_compared(verdict):
    grown = replace(
        TRIAL,
        model=replace(TRIAL.model, params={**TRIAL.model.params, "blocks": 4}),
        metrics=(*TRIAL.metrics, "image_fpr95@1"),
        files=("mine@0123",),
    )
    assert grown.id != TRIAL.id
    assert verdict(result(), result(grown, image_fpr95=0.2))[0].verdict == "as good"
    assert verdict(result(), result(grown, aupro=0.5))[0].verdict == "worse"


def test_images_are_compared_by_their_path(verdict):
    old = result()
    shuffled = np.random.default_rng(3).permutation(len(LABELS))
    other = replace(old, images={name: values[shuffled] for name, values in old.images.items()})
    pair, code = verdict(old, other)
    assert (pair.verdict, code) == ("as good", 0)
    assert (pair.images.total, pair.images.moved) == (40, 0)
    changed = scores()
    changed[7] += 5
    moved = result(score=changed)
    moved = replace(moved, images={name: values[shuffled] for name, values in moved.images.items()})
    pair, code = verdict(old, moved)
    assert (pair.verdict, code) == ("changed", 1)
    assert [flip.path for flip in pair.images.flips] == ["grass/test/007.png"]


GONE = "1 only in the baseline, such as grass/test/000.png"
OTHERS = {
    "a file less": (
        lambda images: {name: values[1:] for name, values in images.items()},
        f"images: {GONE}",
    ),
    "another file": (
        lambda images: {**images, "path": np.array(["new.png", *images["path"][1:]])},
        f"images: {GONE}; 1 only in the new run, such as new.png",
    ),
    "a file twice": (
        lambda images: {**images, "path": images["path"][[1, *range(1, 40)]]},
        f"images: {GONE}; 1 only in the new run, such as grass/test/001.png",
    ),
    "another label": (
        lambda images: {**images, "label": np.array([1, *images["label"][1:]], np.int8)},
        "label of 1 image, such as grass/test/000.png: 0 → 1",
    ),
    "other defects": (
        lambda images: {**images, "defect": np.full(40, "hole")},
        "defect of 20 images, such as grass/test/000.png: good → hole",
    ),
    "no scores": (lambda _: {}, "score of the images: only in the baseline"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_images_are_said_and_not_compared(verdict, other):
    change, said = OTHERS[other]
    new = replace(result(), images=change(result().images))
    pair, code = verdict(result(), new)
    assert (pair.verdict, code) == ("re-baseline", 2)
    assert pair.versions == (said,)
    if other == "no scores":
        assert verdict(new, result())[0].versions == ("score of the images: only in the new run",)


def test_results_without_images_are_compared_by_their_metrics(verdict):
    bare = replace(result(), images={})
    assert verdict(bare, bare)[0].verdict == "as good"
    assert verdict(bare, replace(result(aupro=0.5), images={}))[0].verdict == "worse"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": Choice("patchcore", 1, {"coreset_ratio": 0.2}, ("coreset_ratio",))},
            "coreset_ratio of patchcore: 0.1 → 0.2",
        ),
        ({"evaluation": EvaluationSettings(size=256)}, "evaluation size: none → 256"),
        ({"weights": (Weights("resnet18", 1),)}, "backbone: embedded → resnet18"),
    ],
)
def test_a_trial_with_other_parameters_is_named_by_what_differs(verdict, change, said):
    pair, code = verdict(result(), result(replace(TRIAL, **change)))
    assert (pair.verdict, code) == ("re-baseline", 2)
    assert said in pair.versions


def test_a_missing_trial_names_the_nearest_new_one(stored):
    others = [result(replace(TRIAL, scorer=Choice(name, 1))) for name in ("knn", "mean")]
    other_model = replace(TRIAL, scorer=Choice("knn", 1), model=Choice("padim", 1))
    found = compare(stored("old", *others), stored("new", result(other_model)), NUMBERS)
    said = {pair.trial.scorer.name: pair.versions for pair in found.pairs if pair.old}
    assert said["knn"] == ("model: patchcore → padim",)
    assert said["mean"] == ("model: patchcore → padim", "scorer: mean → knn")


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"category": "metal"}, {"split_seed": 2}, {"model": Choice("padim", 1)}]
)
def test_another_trial_is_no_match(stored, change):
    found = compare(
        stored("old", result()), stored("new", result(replace(TRIAL, **change))), NUMBERS
    )
    assert found.counts == {"missing": 1, "new": 1}
    assert found.exit_code == 1


def test_the_result_finished_last_counts(stored):
    def at(moment, version, **metrics):
        trial = replace(TRIAL, model=replace(TRIAL.model, version=version))
        new = result(trial, **metrics)
        return replace(new, provenance={**new.provenance, "finished": moment})

    new = stored("new", at("2026-01-02", 1, aupro=0.1), at("2026-01-03", 2))
    found = compare(stored("old", at("2026-01-01", 1)), new, NUMBERS)
    assert [pair.verdict for pair in found.pairs] == ["re-baseline"]


class TestNoise:
    """A cost that depends on the machine is judged by its median over a model's trials."""

    def seconds(self, stored, factors, **provenance):
        trials = [replace(TRIAL, seed=seed) for seed in range(len(factors))]
        old = [result(trial, fit_seconds=2.0) for trial in trials]
        new = [
            result(trial, fit_seconds=2.0 * factor)
            for trial, factor in zip(trials, factors, strict=True)
        ]
        new = [replace(one, provenance={**one.provenance, **provenance}) for one in new]
        return compare(stored("old", *old), stored("new", *new), NUMBERS)

    def test_a_hiccup_is_no_regression(self, stored):
        assert self.seconds(stored, [1, 1.2, 50]).exit_code == 0

    def test_what_slows_most_trials_is(self, stored):
        assert self.seconds(stored, [1, 3.5, 50]).counts == {"worse": 3}

    def test_another_device_says_nothing(self, stored):
        assert self.seconds(stored, [20, 20, 20], device="H100").exit_code == 0


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gain=st.floats(-0.5, 0.5).filter(lambda x: abs(abs(x) - 0.01) > 1e-6))
def test_swapping_the_runs_swaps_the_direction(verdict, gain):
    one, other = result(aupro=0.5), result(aupro=0.5 + gain)
    swapped = {"as good": "as good", "worse": "changed", "changed": "worse"}
    assert verdict(one, other)[0].verdict == swapped[verdict(other, one)[0].verdict]
