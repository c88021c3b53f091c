from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from adbench_differnet import adbench_recipes, adbench_reported
from adbench_differnet.model import DifferNet
from adbench_differnet.scorers import LatentNorm
from adbench_harness.nn.rotation import rotated
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Latents, Level, Outputs


def fitted(checkpoint=None, count=8, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 64), log=checkpoint.log, checkpoint=checkpoint)
    model = DifferNet(**DifferNet.presets["smoke"] | params)
    return model.fit(fitting.train(fitting.textures(count, 64)), tools)


def predicted(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))


@pytest.fixture(scope="module")
def model():
    return fitted(epochs=20)


def test_training_raises_the_likelihood_of_normal_images():
    checkpoint = FileCheckpoint(None)
    fitted(checkpoint, epochs=20)
    losses = checkpoint.curves["loss"]
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0])


def test_an_interrupted_training_ends_with_the_same_latents(tmp_path):
    whole = fitted(FileCheckpoint(tmp_path / "whole.pt"), epochs=4)
    fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=2)
    resumed = fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=4)
    images = fitting.textures(2, 64, seed=1)
    for a, b in zip(
        predicted(whole, images)[Latents].levels,
        predicted(resumed, images)[Latents].levels,
        strict=True,
    ):
        assert torch.equal(a.values, b.values)


def test_features_are_means_of_the_layer_at_three_scales(model):
    """The stand-in's fourth stage has 96 channels: 288 values an image."""
    images = fitting.textures(2, 64, seed=1, blob=True)
    features = model._features(fitting.batch(images))
    assert features.shape == (2, 4, 288)
    assert [request.input.size for request in model.feature_requests] == [
        (64, 64), (32, 32), (16, 16),
    ]  # fmt: skip
    turned = rotated(images, torch.full((2,), 90.0))
    torch.testing.assert_close(model._features(fitting.batch(turned))[:, 0], features[:, 1])
    (whole,) = model.extract[0](fitting.batch(images)).values()
    torch.testing.assert_close(features[:, 0, :96], whole.mean((2, 3)))


def test_the_scale_of_the_features_has_no_effect(model, monkeypatch):
    """As on a backbone whose features are thousands of times as large."""
    images = fitting.textures(2, 64, seed=1)
    expected = LatentNorm().score(predicted(model, images)).image
    pooled = DifferNet._pooled
    monkeypatch.setattr(DifferNet, "_pooled", lambda self, batch: 4096 * pooled(self, batch))
    found = LatentNorm().score(predicted(fitted(epochs=20), images)).image
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_a_layer_may_be_a_vector():
    model = fitted(epochs=1, layers=("layer2", "avgpool"))
    assert model.channels == 3 * (48 + 96)


def test_each_rotation_is_a_level_of_one_cell(model):
    levels = predicted(model, fitting.textures(3, 64))[Latents].levels
    assert [tuple(level.values.shape) for level in levels] == [(3, 1, 1, 288)] * 4


@pytest.mark.parametrize(
    ("backbone", "expected"), [("alexnet", "features.12"), ("resnet18", "layer3")]
)
def test_the_default_layer_is_the_papers_if_the_backbone_is(backbone, expected):
    model = DifferNet(backbone=backbone)
    assert model.chosen() == {"layers": expected}
    assert {request.layers for request in model.feature_requests} == {(expected,)}
    assert DifferNet(layers=("a", "b")).chosen() == {"layers": "a, b"}


def test_the_network_runs_once_for_each_image_and_rotation(monkeypatch):
    count = 0
    pooled = DifferNet._pooled

    def counted(self, batch):
        nonlocal count
        count += len(batch)
        return pooled(self, batch)

    monkeypatch.setattr(DifferNet, "_pooled", counted)
    fitted(epochs=5)
    assert count == 8 * 4


def test_a_defect_scores_above_normal_images(model):
    normal, defective = (
        LatentNorm().score(predicted(model, fitting.textures(6, 64, seed=1, blob=blob)))
        for blob in (False, True)
    )
    assert defective.image.min() > normal.image.max()
    assert normal.map is None


def test_scores_do_not_depend_on_the_batch(model):
    images = fitting.textures(3, 64, seed=1)
    together = LatentNorm().score(predicted(model, images)).image
    alone = LatentNorm().score(predicted(model, images[1:2])).image
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=0)


def test_flow_has_the_papers_size():
    """Eight couplings of 768 values, each with two subnetworks of 2048 hidden neurons."""
    model = DifferNet()
    with torch.device("meta"):
        numbers = sum(p.numel() for p in model._flow(768).parameters())
    assert numbers == 8 * 2 * (384 * 2048 + 2048 + 2048 * 768 + 768)
    assert model.rotations == 64


# ---------------------------------------------------------------- scorer


def test_image_score_is_the_mean_over_all_values_of_all_levels():
    draw = torch.Generator().manual_seed(0)
    sizes = ((8, 8, 6), (4, 4, 6), (2, 2, 6))
    values = [torch.randn(3, *size, generator=draw) for size in sizes]
    scores = LatentNorm().score(Outputs((16, 16), Latents(tuple(map(Level, values)))))
    joined = np.concatenate([v.flatten(1).numpy() for v in values], 1)
    np.testing.assert_allclose(scores.image, (joined**2).mean(1) / 2, rtol=1e-5)
    alone = LatentNorm().score(Outputs((8, 8), Latents((Level(values[0]),))))
    np.testing.assert_allclose(alone.map, values[0].square().mean(-1) / 2, rtol=1e-5)
    smooth = LatentNorm(sigma=2).score(Outputs((8, 8), Latents((Level(values[0]),))))
    assert smooth.map.std() < 0.5 * alone.map.std()
    assert torch.equal(smooth.image, alone.image)


# ---------------------------------------------------------------- recipe and reported numbers


def test_recipe_has_the_papers_settings():
    catalogue = plugins.load(["differnet"])
    [recipe] = adbench_recipes()
    assert {row.recipe for row in adbench_reported()} == {recipe.name}
    assert {row.dataset for row in adbench_reported()} <= set(catalogue.offers["dataset"])
    checked = suite.validate({**recipe.suite, "plugins": ["differnet"]}, recipe.name)
    [[model]] = checked.models
    built = parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", model))
    assert (built.epochs, built.batch, built.drawn, built.hidden) == (192, 24, 4, 2048)
    assert [r.input.size[0] for r in built.feature_requests] == [448, 224, 112]
