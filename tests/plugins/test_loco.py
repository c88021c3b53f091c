"""Saturated overlap beside its definition, and the metrics of a data set laid out as LOCO."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import roc_auc_score

import miniatures
from adbench_harness.basic.datasets import MVTecLOCO
from adbench_harness.cli import main
from adbench_harness.evaluation import Evaluation
from adbench_harness.images import geometry, masks
from adbench_harness.results.store import Store
from adbench_harness.testing import parametrize_with_checks
from adbench_loco.metrics import METRICS
from adbench_loco.spro import spro

BY_NAME = {metric.name: metric for metric in METRICS}
LIMITS = (0.05, 0.3, 1.0)


@parametrize_with_checks(METRICS)
def test_conformance(component, check):
    check(component)


def brute_force_spro(evaluation: Evaluation, limit: float) -> float:
    """The definition: every threshold, every region, the trapezoid rule."""
    found, normal = [], []
    for i, scores in enumerate(evaluation.maps):
        anomalous = np.zeros(scores.shape, bool)
        for region, enough in zip(evaluation.regions[i], evaluation.saturation[i], strict=True):
            anomalous |= region
            if region.any():
                area = int(region.sum())
                found.append((scores[region], area if enough is None else min(enough, area)))
        normal.append(scores[~anomalous])
    negatives = np.concatenate(normal)
    curve = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([m.ravel() for m in evaluation.maps]))[::-1]:
        overlaps = [min(np.sum(scores >= threshold) / enough, 1) for scores, enough in found]
        curve.append((float(np.mean(negatives >= threshold)), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            return (area + (limit - x0) * (y0 + y1) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def evaluation_of(maps, regions, saturation, defects=()):
    masks = [
        np.any([np.zeros(scores.shape, bool), *some], axis=0)
        for scores, some in zip(maps, regions, strict=True)
    ]
    return Evaluation(
        np.array([bool(some) for some in regions], np.int8),
        maps=maps,
        masks=masks,
        defects=defects,
        mapped=np.arange(len(maps)),
        regions=regions,
        saturation=saturation,
    )


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    """A few small images; regions of any shape that may overlap, and any number of score levels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 5, 20, 1 << 20]))
    maps, regions, saturation = [], [], []
    for height, width in draw(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)
    ):
        count = draw(st.integers(0, 3))
        some = [rng.random((height, width)) < rng.choice([0.05, 0.3]) for _ in range(count)]
        shown = np.sum([np.zeros((height, width)), *some], axis=0)
        score = rng.normal(size=(height, width)) + shown
        maps.append((np.round(score * levels) / levels if levels > 1 else 0 * score).astype("f4"))
        regions.append(some)
        enough = st.none() | st.floats(0.5, 40) | st.integers(1, 40)
        saturation.append([draw(enough) for _ in some])
    normal, anomalous = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    maps += [rng.normal(size=(2, 2)).astype("f4"), rng.normal(size=(2, 2)).astype("f4")]
    return evaluation_of(maps, [*regions, [], [normal, anomalous]], [*saturation, [], [None, 1]])


@settings(deadline=None, max_examples=300)
@given(evaluations(), st.sampled_from(LIMITS) | st.floats(0.001, 1))
def test_it_is_the_definition(evaluation: Evaluation, limit: float) -> None:
    assert spro(evaluation, limit) == pytest.approx(brute_force_spro(evaluation, limit), abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.02, 0.2]), st.sampled_from(LIMITS))
def test_it_is_aupro_where_nothing_saturates(seed: int, share: float, limit: float) -> None:
    """With a mask for each connected region, which is what AUPRO takes for one."""
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(20, 17)).astype("f4") for _ in range(3)]
    regions = []
    for scores in maps:
        labels, count = ndimage.label(rng.random(scores.shape) < share, np.ones((3, 3)))
        regions.append([labels == region for region in range(1, count + 1)])
    for enough in (None, 20 * 17):
        saturation = [[enough for _ in some] for some in regions]
        evaluation = evaluation_of(maps, regions, saturation)
        expected = evaluation.pixels.aupro(limit)
        assert spro(evaluation, limit) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    unsaturated = Evaluation(evaluation.labels, maps=maps, masks=evaluation.masks, regions=regions)
    assert spro(unsaturated, limit) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_by_hand() -> None:
    """A region of four pixels, two of which are enough; the third best score is a normal one's."""
    scores = np.array([[9, 8, 7, 6, 5, 4, 3, 2]], "f4")
    region = np.array([[1, 1, 0, 1, 1, 0, 0, 0]], bool)
    saturated = evaluation_of([scores], [[region]], [[2]])
    assert spro(saturated, 1.0) == 1
    plain = evaluation_of([scores], [[region]], [[None]])
    # Half is found without a false alarm; the rest comes after the first of four normal pixels.
    assert spro(plain, 1.0) == pytest.approx(0.5 * 0.25 + 1.0 * 0.75)
    three = evaluation_of([scores], [[region]], [[3]])
    assert spro(three, 0.25) == pytest.approx(2 / 3)


def test_an_overlap_counts_in_both_regions() -> None:
    scores = np.array([[3, 2, 1, 0]], "f4")
    left, right = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)
    evaluation = evaluation_of([scores], [[left, right]], [[None, None]])
    assert spro(evaluation, 1.0) == brute_force_spro(evaluation, 1.0) == 1
    assert evaluation.masks[0].sum() == 3


def by_kind() -> Evaluation:
    rng = np.random.default_rng(0)
    defects = ("good", "logical_anomalies", "structural_anomalies", "good", "logical_anomalies")
    maps = [rng.normal(size=(9, 8)).astype("f4") for _ in defects]
    regions = [
        [] if defect == "good" else [rng.random((9, 8)) < 0.2, rng.random((9, 8)) < 0.1]
        for defect in defects
    ]
    saturation = [[3, None][: len(some)] for some in regions]
    evaluation = evaluation_of(maps, regions, saturation, defects)
    scores = rng.normal(size=5).astype("f4")
    return replace(evaluation, scores=scores)


def test_each_kind_stands_beside_the_normal_images() -> None:
    evaluation = by_kind()
    labels, scores = evaluation.labels, evaluation.scores
    chosen = {"logical": [0, 1, 3, 4], "structural": [0, 2, 3]}
    means = {"auroc": [], "spro_005": []}
    for kind, images in chosen.items():
        auroc = BY_NAME[f"auroc_{kind}"].compute(evaluation)
        assert auroc == roc_auc_score(labels[images], scores[images])
        of_kind = evaluation_of(
            *([part[i] for i in images] for part in (evaluation.maps, evaluation.regions)),
            [evaluation.saturation[i] for i in images],
        )
        expected = brute_force_spro(of_kind, 0.05)
        value = BY_NAME[f"spro_005_{kind}"].compute(evaluation)
        assert value == pytest.approx(expected, abs=1e-12)
        means["auroc"].append(auroc)
        means["spro_005"].append(value)
    for name, values in means.items():
        assert BY_NAME[f"{name}_mean"].compute(evaluation) == pytest.approx(np.mean(values))
    assert BY_NAME["spro"].compute(evaluation) == pytest.approx(brute_force_spro(evaluation, 0.3))


def test_a_kind_that_no_image_shows_has_no_number() -> None:
    evaluation = by_kind().of_defects("structural_anomalies")
    undefined = {name for name, m in BY_NAME.items() if math.isnan(m.compute(evaluation))}
    assert undefined == {"auroc_logical", "auroc_mean", "spro_005_logical", "spro_005_mean"}
    without_normals = evaluation.only(evaluation.labels == 1)
    assert math.isnan(BY_NAME["spro_005_logical"].compute(without_normals))


def test_masks_are_read_once_for_all_limits(monkeypatch) -> None:
    evaluation = by_kind()
    ranked = []
    weighted = Evaluation.weighted
    monkeypatch.setattr(
        Evaluation, "weighted", lambda self, weights: ranked.append(1) or weighted(self, weights)
    )
    for metric in METRICS:
        metric.compute(evaluation)
    assert len(ranked) == 3  # all images, and each kind's


def test_a_run_on_the_data_set_has_all_of_them(toys, plugin_file, tmp_path) -> None:
    """In miniature, as its archive lays it out: maps and thresholds go all the way."""
    root = tmp_path / "mvtec_loco"
    for path, content in miniatures.MVTEC_LOCO.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    plugins = f"{toys},{plugin_file('loco', 'from adbench_loco import adbench_metrics')}"
    names = ("--datasets", "mvtec_loco", "--models", "toy-mean", "--preprocessors", "none")
    arguments = ["run", "--plugins", plugins, *names, "--scorers", "toy-map", "--keep-maps"]
    store = Store(tmp_path / "results")
    arguments += ["--data", f"mvtec_loco={root}", "--device", "cpu", "--out", str(store.root)]
    assert main(arguments) == 0
    (result,) = store.read()
    assert set(BY_NAME) <= set(result.metrics)
    images, maps = store.images(result.trial), store.maps(result.trial)
    size = (miniatures.HEIGHT, miniatures.WIDTH)
    samples = [s for s in MVTecLOCO().samples(root, "pushpins", 0) if s.split == "test"]
    assert [sample.image.name for sample in samples] == [Path(p).name for p in images["path"]]
    again = evaluation_of(
        [geometry.from_input(scores, maps.spec, size) for scores in maps.values],
        [masks.regions(sample, 0, size) for sample in samples],
        [sample.saturation for sample in samples],
    )
    assert [len(regions) for regions in again.regions] == [0, 2, 1, 1]
    expected = brute_force_spro(again, 0.3)
    assert result.metrics["spro"] == pytest.approx(expected, abs=1e-3)
