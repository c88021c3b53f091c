from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from adbench_harness.errors import UserError
from adbench_harness.results.fitted import decode
from adbench_harness.running.bundle import fit_bundle, load, run_bundle
from adbench_harness.running.predicting import Predictor

LEARNING = '''
class Shade(Preprocessor):
    """Subtracts the mean that it has learned."""
    name, summary, version = "shade", "Subtracts the mean.", 1
    def fit(self, images):
        self.mean = float(np.mean([image.mean() for image in images]))
    def __call__(self, image):
        return np.clip(image.astype(float) - self.mean / 2, 0, 255).astype(np.uint8)

class Drawn(ToyModel):
    """Adds a number that it draws by the image's seed."""
    name, summary = "drawn", "Draws."
    input = InputSpec(16, None)
    def predict(self, batch):
        made = super().predict(batch)
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds.tolist()]
        drawn = torch.stack([torch.rand((), generator=one) for one in generators])
        level = made[AnomalyMap].levels[0]
        values = level.values + drawn[:, None, None]
        ports = made.ports | {AnomalyMap: AnomalyMap((replace(level, values=values),))}
        return Outputs(made.input_size, *ports.values())

class Keeper(ToyModel):
    """Keeps what cannot be stored."""
    name, summary = "keeper", "Keeps."
    def fit(self, train, tools):
        self.lock = object()
        return super().fit(train, tools)

@hookimpl
def adbench_preprocessors():
    return [Shade]

@hookimpl
def adbench_models():
    return [Drawn, Keeper]
'''
HEAD = """
from dataclasses import replace
import numpy as np
import torch
from adbench_harness.types import AnomalyMap, InputSpec, Outputs, Preprocessor
from toys import ToyModel
"""


@pytest.fixture
def predictor(tmp_path):
    """What a bundle's only trial kept, loaded from a file."""

    def make(bundle):
        (result,) = run_bundle(bundle)
        assert result.status == "ok", result.failures
        path = tmp_path / f"{result.trial.id}.safetensors"
        path.write_bytes(result.fitted)
        trial = bundle.trials[0]
        device = torch.device("cpu")
        return result, Predictor(trial, decode(path), load(bundle.plugins), device)

    return make


def scored(found, paths):
    return [one.score for one in found.predict(paths, lambda *_: None)]


def files(bundle, result):
    return [Path(bundle.root) / path for path in result.images["path"]]


def test_a_preprocessor_keeps_what_it_learned(planned, predictor, plugin_file, toys):
    own = plugin_file("own", HEAD + LEARNING)
    (bundle,) = planned(plugins=[toys, own], preprocessors="shade", keep_models=True)
    result, found = predictor(bundle)
    scores = scored(found, files(bundle, result))
    assert scores == pytest.approx(result.images["score"].tolist())


def test_what_is_drawn_for_an_image_does_not_depend_on_the_others(
    planned, predictor, plugin_file, toys
):
    own = plugin_file("own", HEAD + LEARNING)
    (bundle,) = planned(plugins=[toys, own], models="drawn", keep_models=True)
    result, found = predictor(bundle)
    paths = files(bundle, result)
    scores = scored(found, paths)
    assert scored(found, paths[::-1]) == scores[::-1]
    assert scored(found, [paths[3], *paths[:3]] * 9)[:1] == [scores[3]]


def test_what_cannot_be_kept_is_noted(planned, plugin_file, toys):
    own = plugin_file("own", HEAD + LEARNING)
    (bundle,) = planned(plugins=[toys, own], models="keeper", keep_models=True)
    (result,) = run_bundle(bundle)
    assert result.status == "ok"
    assert result.fitted == b""
    (note,) = [n for n in result.provenance["notes"] if "was not kept" in n]
    assert "'lock' holds a object" in note


def test_nothing_is_kept_unless_asked(ran):
    (result,) = ran()
    assert result.fitted == b""


def test_fitting_alone_gives_the_same(planned, predictor):
    (bundle,) = planned(keep_models=True)
    result, found = predictor(bundle)
    paths = files(bundle, result)
    device = torch.device("cpu")
    again = Predictor(bundle.trials[0], fit_bundle(bundle), load(bundle.plugins), device)
    assert scored(again, paths) == scored(found, paths)


def test_another_version_is_refused(planned):
    (bundle,) = planned(keep_models=True)
    fitted = fit_bundle(bundle)
    trial = bundle.trials[0]
    older = replace(trial, model=replace(trial.model, version=9))
    with pytest.raises(UserError, match=r"'toy-mean' has version \d here, .* version 9; run its"):
        Predictor(older, fitted, load(bundle.plugins), torch.device("cpu"))


def test_values_of_twelve_bits_are_read_like_those_of_the_run(planned, predictor, tmp_path):
    draw = np.random.default_rng(0)
    for place, count in (("train/good", 4), ("test/good", 2), ("test/spot", 2)):
        for i in range(count):
            image = draw.integers(1800, 2200, (40, 48), dtype=np.uint16)
            if place == "test/spot":
                image[10:20, 10 + i : 30] = 4095
            path = tmp_path / "own" / "part" / place / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    locations = {"folder": str(tmp_path / "own")}
    (bundle,) = planned(
        datasets="folder", keep_models=True, metrics=["image_auroc"], locations=locations
    )
    result, found = predictor(bundle)
    assert found.depth == 12
    paths = files(bundle, result)
    assert scored(found, paths) == pytest.approx(result.images["score"].tolist())
