from __future__ import annotations

import shutil
import time
from pathlib import Path

import cv2
import pytest

from adbench_harness.images import cache, decoding, folders
from adbench_harness.running import material
from adbench_harness.running.bundle import load, run_bundle
from adbench_harness.running.watch import Watch

IMAGES = {"train": 4, "test": 8}


def scores(results):
    return {r.trial.id: r.images["score"].tobytes() for r in results}


def test_a_backbone_runs_once_over_an_image_for_all_layers(planned):
    (bundle,) = planned(models="probe-features:layer=fine,probe-features:layer=coarse", seeds=2)
    backbone = load(bundle.plugins).get("backbone", "probe-backbone")
    backbone.seen.clear()
    assert all(r.status == "ok" for r in run_bundle(bundle))
    assert backbone.seen["fine", "coarse"] == sum(IMAGES.values())


def test_an_image_is_preprocessed_once(planned):
    (bundle,) = planned(preprocessors="probe-counting", models="toy-mean,toy-trained", seeds=2)
    preprocessor = load(bundle.plugins).get("preprocessor", "probe-counting")
    preprocessor.seen.clear()
    assert len(list(run_bundle(bundle))) == 4
    assert len(preprocessor.seen) == sum(IMAGES.values())
    # The clock's own image apart.
    assert sorted(preprocessor.seen.values())[:-1] == [1] * (sum(IMAGES.values()) - 1)


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded so far."""
    seen, decode = [], decoding.decode
    monkeypatch.setattr(
        decoding, "decode", lambda path, *depth: seen.append(path) or decode(path, *depth)
    )
    return seen


FITTED = "probe-fitted+toy-dim"


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize("chain", ["none", FITTED])
def test_the_next_run_starts_from_the_kept_images(planned, decoded, chain):
    (bundle,) = planned(preprocessors=chain, models="toy-mean,probe-brightness")
    first = list(run_bundle(bundle))
    assert len(set(decoded)) == sum(IMAGES.values())
    decoded.clear()
    second = list(run_bundle(bundle))
    # The clock's image, and what a preprocessor is fitted on.
    assert len(decoded) == 2 * 1 + (IMAGES["train"] if chain == FITTED else 0)
    assert [r.status for r in second] == ["ok", "ok"]
    assert scores(second) == scores(first)
    for before, after in zip(first, second, strict=True):
        assert after.seconds_alone["preprocess"] > 0
        if chain == "none":  # a preprocessor's fit is timed anew
            assert after.seconds_alone["preprocess"] == before.seconds_alone["preprocess"]
        same = ("image_auroc", "pixel_auroc", "aupro", "params", "flops")
        assert [after.metrics.get(name) for name in same] == [
            before.metrics.get(name) for name in same
        ]


@pytest.mark.usefixtures("own_data")
def test_a_spoilt_entry_is_made_again(planned, decoded):
    (bundle,) = planned()
    first = scores(run_bundle(bundle))
    (entry,) = cache.folder().iterdir()
    whole = entry.stat().st_size
    for size in (whole // 2, 10, 0):
        with entry.open("rb+") as file:
            file.truncate(size)
        decoded.clear()
        assert scores(run_bundle(bundle)) == first
        assert len(set(decoded)) == sum(IMAGES.values())
        assert entry.stat().st_size == whole


@pytest.mark.usefixtures("own_data")
def test_no_other_images_are_taken_for_the_kept_ones(planned, decoded):
    def fresh(**asked):
        decoded.clear()
        (bundle,) = planned(**asked)
        (result,) = run_bundle(bundle)
        return len(decoded) > 1, result.images["score"].tolist()

    models = "probe-brightness"
    made, dim = fresh(models=models, preprocessors="toy-dim:factor=0.5")
    assert made
    made, dimmer = fresh(models=models, preprocessors="toy-dim:factor=0.25")
    assert made
    assert dimmer != dim
    made, plain = fresh(models=models)
    assert made
    assert fresh(models=models) == (False, plain)
    path = next(path for path in decoded if "train" not in path.parts)
    cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    made, changed = fresh(models=models)
    assert made
    assert changed != plain


@pytest.mark.usefixtures("own_data")
def test_files_that_change_after_the_plan_are_not_kept(planned):
    (bundle,) = planned()
    image = next(Path(bundle.root).glob("dark/test/good/*.png"))
    content = image.read_bytes()
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    assert [r.status for r in run_bundle(bundle)] == ["ok"]
    assert not cache.folder().exists()
    image.write_bytes(content)
    assert [r.status for r in run_bundle(bundle)] == ["ok"]
    assert len(list(cache.folder().iterdir())) == 1


@pytest.mark.usefixtures("own_data")
def test_a_disk_without_room_costs_nothing_but_time(planned, decoded, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 0)
    (bundle,) = planned()
    first = scores(run_bundle(bundle))
    assert not list(cache.folder().iterdir())
    decoded.clear()
    assert scores(run_bundle(bundle)) == first
    assert len(set(decoded)) == sum(IMAGES.values())


@pytest.mark.usefixtures("own_data")
def test_auxiliary_images_are_decoded_once(planned, decoded):
    (bundle,) = planned(models="probe-auxiliary", seeds=2)
    results = list(run_bundle(bundle))
    assert [r.status for r in results] == ["ok", "ok"], results[0].failures
    auxiliary = [path for path in decoded if "probe-textures" in path.parts]
    assert len(auxiliary) == len(set(auxiliary)) > 0


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_a_backbone_that_runs_while_images_are_decoded_gives_the_same(
    planned, monkeypatch, at_once
):
    asked = {"models": "probe-features:layer=fine,probe-features:layer=coarse"}
    (bundle,) = planned(**asked)
    apart = list(run_bundle(bundle))
    shutil.rmtree(cache.folder())
    monkeypatch.setattr(material, "_overlaps", lambda device: True)
    monkeypatch.setattr(material, "_AT_ONCE", at_once)
    told = []
    backbone = load(bundle.plugins).get("backbone", "probe-backbone")
    backbone.seen.clear()
    together = list(run_bundle(bundle, Watch(lambda *said: told.append(said))))
    assert backbone.seen["fine", "coarse"] == sum(IMAGES.values())
    for one, other in zip(apart, together, strict=True):
        assert one.images["score"] == pytest.approx(other.images["score"], rel=1e-5)
        assert set(one.seconds_alone) == set(other.seconds_alone)
    stages = [stage for stage, _, _ in told if stage in ("images", "features")]
    # At the last image at the latest, the first features are there.
    assert at_once == 64 or stages.index("features") < max(
        i for i, stage in enumerate(stages) if stage == "images"
    )


@pytest.mark.usefixtures("own_data")
def test_waiting_for_images_is_not_charged_to_the_backbone(planned, monkeypatch):
    monkeypatch.setattr(material, "_overlaps", lambda device: True)
    decode = decoding.decode
    monkeypatch.setattr(
        decoding, "decode", lambda path, *depth: time.sleep(0.2) or decode(path, *depth)
    )
    monkeypatch.setattr(folders, "workers", lambda: 1)
    (bundle,) = planned(models="probe-features")
    (result,) = run_bundle(bundle)
    assert sum(s for name, s in result.seconds_alone.items() if name.startswith("features")) < 0.2
    # Nor is decoding to preprocessing: it is the same for every trial.
    assert result.seconds_alone["preprocess"] < 0.2


@pytest.mark.usefixtures("own_data")
def test_an_unreadable_image_is_named_while_a_backbone_runs(planned, monkeypatch):
    monkeypatch.setattr(material, "_overlaps", lambda device: True)
    monkeypatch.setattr(material, "_AT_ONCE", 1)
    (bundle,) = planned(models="probe-features")
    broken = Path(bundle.root) / "dark" / "test" / "spot" / "1.png"
    broken.write_bytes(b"no picture")
    (result,) = run_bundle(bundle)
    (failure,) = result.failures
    assert failure.stage == "preprocess"
    assert str(broken) in failure.message
