"""What metrics are given: maps, masks, united and apart, and what is known beside them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from adbench_harness.cli import main
from adbench_harness.errors import ContractError
from adbench_harness.evaluation import Evaluation
from adbench_harness.images.truth import Truth
from adbench_harness.results.store import Store
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.running import evaluating
from adbench_harness.types import InputSpec, Metric, Sample

SIZE = (40, 60)
SPEC = InputSpec(32, 24)
SETTINGS = [
    EvaluationSettings(),
    EvaluationSettings(30),
    EvaluationSettings(border="crop"),
    EvaluationSettings(96, "crop"),
]
IMAGES = {
    "path": np.array(["bad/0.png", "bad/1.png", "good/0.png", "bad/2.png"]),
    "defect": np.array(["spot", "dent", "good", "spot"]),
    "label": np.array([1, 1, 0, 1], np.int8),
    "score": np.arange(4, dtype=np.float32),
    "validation": np.zeros(3, np.float32),
}


def write(path: Path, *rectangle: int) -> Path:
    top, left, bottom, right = rectangle
    pixels = np.zeros(SIZE, np.uint8)
    pixels[top:bottom, left:right] = 255
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """Of a spot with two masks that overlap, a dent without any, a normal image, and a spot."""
    image = write(tmp_path / "image.png", 0, 1, 0, 1)
    left = write(tmp_path / "z.png", 4, 10, 34, 34)
    right = write(tmp_path / "a.png", 20, 28, 30, 50)
    small = write(tmp_path / "small.png", 14, 20, 24, 40)
    samples = [
        Sample(image, "test", 1, (left, right), "spot", saturation=(100, None)),
        Sample(image, "test", 1, (), "dent"),
        Sample(image, "test", 0),
        Sample(image, "test", 1, (small,), "spot"),
    ]
    masks = [np.zeros(SIZE, bool) for _ in samples]
    masks[0] = (cv2.imread(str(left), 0) > 0) | (cv2.imread(str(right), 0) > 0)
    masks[3] = cv2.imread(str(small), 0) > 0
    return Truth(samples, [masks[0], None, masks[2], masks[3]], 127)


def maps() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 24, 24)).astype("f4")


def test_what_a_result_has_of_an_image_a_metric_sees() -> None:
    seen = evaluating.evaluation(IMAGES)
    assert seen.names == ("bad/0.png", "bad/1.png", "good/0.png", "bad/2.png")
    assert seen.defects == ("spot", "dent", "good", "spot")
    assert seen.scores is IMAGES["score"]
    assert seen.validation is IMAGES["validation"]
    assert seen.has("validation")
    assert not seen.has("map")
    bare = evaluating.evaluation({name: IMAGES[name] for name in ("path", "defect", "label")})
    assert bare.scores is bare.validation is None


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_masks_are_apart_in_the_place_of_the_united_ones(truth, settings) -> None:
    seen = evaluating.with_maps(evaluating.evaluation(IMAGES), maps(), truth, SPEC, settings)
    assert seen.has("regions")
    assert seen.mapped.tolist() == [0, 2, 3]
    assert [len(regions) for regions in seen.regions] == [2, 0, 1]
    for scores, mask, regions in zip(seen.maps, seen.masks, seen.regions, strict=True):
        assert all(region.dtype == bool for region in regions)
        united = np.any([np.zeros(scores.shape, bool), *regions], axis=0)
        np.testing.assert_array_equal(united, mask)
    left, right = seen.regions[0]
    assert left.sum() > right.sum(), "they come in the order of the sample's masks"
    assert np.count_nonzero(left & right) > 0


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_an_area_that_is_enough_shrinks_with_the_image(truth, settings) -> None:
    seen = evaluating.with_maps(evaluating.evaluation(IMAGES), maps(), truth, SPEC, settings)
    areas, normal, rest = seen.saturation
    assert (list(normal), list(rest)) == ([], [None])
    assert areas[1] is None
    whole = 20 * 10  # px of the small mask, which no crop cuts
    assert areas[0] / 100 == pytest.approx(seen.masks[2].sum() / whole, rel=0.1)
    if settings.size is None:
        assert areas[0] == 100


def test_masks_apart_are_read_when_a_metric_asks(truth) -> None:
    for sample in truth.samples:
        for mask in sample.masks:
            mask.rename(mask.with_suffix(".away"))
    settings = EvaluationSettings()
    seen = evaluating.with_maps(evaluating.evaluation(IMAGES), maps(), truth, SPEC, settings)
    assert seen.regions[1] == []
    with pytest.raises(Exception, match=r"'.*small.png' cannot be decoded as an image"):
        seen.regions[2]


def test_without_truth_by_pixel_there_are_no_maps(truth) -> None:
    unknown = Truth(truth.samples, [None] * 4, 127)
    seen = evaluating.evaluation(IMAGES)
    assert evaluating.with_maps(seen, maps(), unknown, SPEC, EvaluationSettings()) is seen


# ---------------------------------------------------------------- from a run to its metrics

PLUGIN = """
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from adbench_harness.types import Metric
from toys import ToyData


class Halves(ToyData):
    name = "halves"
    summary = "The toys' images, each mask as two files, of which the left is found by 5 px."

    def samples(self, root, category, split_seed):
        return [halved(sample) for sample in super().samples(root, category, split_seed)]


def halved(sample):
    if not sample.masks:
        return sample
    mask = cv2.imread(str(sample.masks[0]), cv2.IMREAD_GRAYSCALE)
    middle = int(np.flatnonzero(mask.any(axis=0)).mean()) + 1
    halves = []
    for name, columns in (("1-left", slice(middle, None)), ("0-right", slice(0, middle))):
        half = mask.copy()
        half[:, columns] = 0
        path = sample.masks[0].with_name(f"{name}-{sample.masks[0].stem}.png")
        if not path.exists():
            cv2.imwrite(str(path), half)
        halves.append(path)
    return replace(sample, masks=tuple(halves), saturation=(5, None))


def regions(evaluation):
    # The left half comes first, since it is the sample's first mask.
    ordered = [np.nonzero(a)[1].max() < np.nonzero(b)[1].min() for a, b in pairs(evaluation)]
    return sum(ordered)


def pairs(evaluation):
    return [found for found in evaluation.regions if len(found) == 2]


def enough(evaluation):
    return sum(area or 0 for areas in evaluation.saturation for area in areas)


def spots(evaluation):
    shown = [evaluation.names[i] for i in evaluation.mapped if evaluation.defects[i] == "spot"]
    return sum(Path(name).parent.name == "spot" for name in shown)


def held_out(evaluation):
    return len(evaluation.validation)


@hookimpl
def adbench_datasets():
    return [Halves]


@hookimpl
def adbench_metrics():
    return [
        Metric("regions", "Halves in order", regions, "regions", unit="count"),
        Metric("enough", "px", enough, "regions", unit="count"),
        Metric("spots", "Images of spots with a map", spots, "map", unit="count"),
        Metric("held_out", "Held-out images", held_out, "validation", unit="count"),
    ]
"""


@pytest.fixture
def plugins(toys: str, plugin_file, tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "cache"))
    return f"{toys},{plugin_file('halves', PLUGIN)}"


def run(plugins: str, out: Path, *options: str) -> list:
    names = ("--datasets", "halves/dark", "--preprocessors", "none", "--models", "toy-mean")
    arguments = ["run", "--plugins", plugins, *names, *options, "--device", "cpu"]
    arguments += ["--out", str(out)]
    assert main(arguments) == 0
    return list(Store(out).read())


def test_a_run_and_a_rescored_run_show_metrics_the_same(plugins, tmp_path) -> None:
    (ran,) = run(plugins, tmp_path / "ran", "--scorers", "toy-map", "--keep-maps")
    assert (ran.metrics["regions"], ran.metrics["enough"], ran.metrics["spots"]) == (6, 6 * 5, 3)
    assert "held_out" not in ran.metrics
    again = tmp_path / "again"
    assert main(["rescore", str(tmp_path / "ran"), "--out", str(again), "--plugins", plugins]) == 0
    (rescored,) = Store(again).read()
    assert rescored.trial.id == ran.trial.id
    assert rescored.metrics == pytest.approx(ran.metrics, abs=1e-4)


def test_what_is_not_there_leaves_metrics_out(plugins, tmp_path, capsys) -> None:
    (ran,) = run(plugins, tmp_path / "ran", "--scorers", "toy-map")
    assert "regions" in ran.metrics, "a run has the maps, whether it keeps them or not"
    again = tmp_path / "again"
    names = ("--metrics", "regions,image_auroc", "--plugins", plugins)
    assert main(["rescore", str(tmp_path / "ran"), "--out", str(again), *names]) == 0
    assert "1 of 1 trial stored no maps" in capsys.readouterr().err
    (rescored,) = Store(again).read()
    assert "regions" not in rescored.metrics
    (scores,) = run(plugins, tmp_path / "scores", "--scorers", "toy-fitted")
    assert {"regions", "spots", "held_out"}.isdisjoint(scores.metrics)


def test_held_out_images_are_scored_for_a_threshold(plugins, tmp_path) -> None:
    names = ("--metrics", "held_out,recall_at_1%", "--scorers", "toy-map")
    (ran,) = run(plugins, tmp_path / "ran", *names, "--validation", "0.5")
    assert ran.metrics["held_out"] == 2
    images = Store(tmp_path / "ran").images(ran.trial)
    anomalous = images["score"][images["label"] == 1]
    expected = np.mean(anomalous > images["validation"].max())
    assert ran.metrics["recall_at_1%"] == expected
    low, high = ran.intervals["recall_at_1%"]
    assert low <= expected <= high
    again = tmp_path / "again"
    arguments = ("--metrics", "held_out,recall_at_1%", "--plugins", plugins)
    assert main(["rescore", str(tmp_path / "ran"), "--out", str(again), *arguments]) == 0
    (rescored,) = Store(again).read()
    assert rescored.metrics["recall_at_1%"] == expected
    assert rescored.intervals == ran.intervals


UNITS = [("%", 1.5), ("%", -0.5), ("count", -1.0), ("ms", -1.0), ("%", math.inf), ("s", -math.inf)]


@pytest.mark.parametrize(("unit", "number"), UNITS)
def test_a_number_that_its_unit_does_not_allow_is_refused(unit, number):
    metric = Metric("odd", "Odd.", lambda _: number, "image", unit=unit)
    with pytest.raises(ContractError, match=r"metric 'odd' is .*, but a number of unit '.*' is "):
        evaluating.value(metric, Evaluation(np.zeros(1)))


@pytest.mark.parametrize(
    ("unit", "number"), [("%", 1.0), ("%", 1 + 1e-12), ("", -7.0), ("count", 9e9), ("%", math.nan)]
)
def test_others_are_what_the_metric_computed(unit, number):
    metric = Metric("mine", "Mine.", lambda _: number, "image", unit=unit)
    found = evaluating.value(metric, Evaluation(np.zeros(1)))
    assert found == number or (math.isnan(found) and math.isnan(number))
