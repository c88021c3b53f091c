from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from adbench_fastflow import adbench_recipes, adbench_reported
from adbench_fastflow.model import FastFlow
from adbench_fastflow.scorers import LatentProbability
from adbench_harness.errors import UserError
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Latents, Level, LogDeterminants, Outputs


def made(**params):
    return FastFlow(**FastFlow.presets["smoke"] | {"resize": 64} | params)


def fitted(checkpoint=None, count=8, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 64), log=checkpoint.log, checkpoint=checkpoint)
    return made(**params).fit(fitting.train(fitting.textures(count, 64)), tools)


def predicted(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))


@pytest.fixture(scope="module")
def model():
    return fitted(epochs=12)


def test_training_raises_the_likelihood_of_normal_images():
    checkpoint = FileCheckpoint(None)
    fitted(checkpoint, epochs=12)
    losses = checkpoint.curves["loss"]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0])


def test_an_interrupted_training_ends_with_the_same_latents(tmp_path):
    whole = fitted(FileCheckpoint(tmp_path / "whole.pt"), epochs=3)
    fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=2)
    resumed = fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=3)
    images = fitting.textures(2, 64, seed=1)
    for a, b in zip(
        predicted(whole, images)[Latents].levels,
        predicted(resumed, images)[Latents].levels,
        strict=True,
    ):
        assert torch.equal(a.values, b.values)


def test_a_vector_is_refused():
    with pytest.raises(UserError, match="'avgpool' is one vector"):
        fitted(epochs=1, layers=("layer2", "avgpool"))


def test_each_layer_has_latents_of_its_own_grid(model):
    outputs = predicted(model, fitting.textures(3, 64))
    shapes = [tuple(level.values.shape) for level in outputs[Latents].levels]
    assert shapes == [(3, 16, 16, 32), (3, 8, 8, 48), (3, 4, 4, 64)]
    for latents, determinants in zip(
        outputs[Latents].levels, outputs[LogDeterminants].levels, strict=True
    ):
        assert determinants.values.shape == latents.values.shape[:3]


def test_latents_are_those_of_the_normalised_features(model):
    """Inverse flows give back the layers with mean 0 and deviation 1 over each image's values."""
    images = fitting.textures(2, 64, seed=3)
    outputs = predicted(model, images)
    features = model.extract(fitting.batch(images))
    for flow, level, name in zip(
        model.flows, outputs[Latents].levels, ("layer1", "layer2", "layer3"), strict=True
    ):
        with torch.no_grad():
            (found,) = flow.inverse((level.values.permute(0, 3, 1, 2),))
        values = features[name].flatten(1)
        expected = (values - values.mean(1, keepdim=True)) / values.std(1, correction=0)[:, None]
        torch.testing.assert_close(found.flatten(1), expected, atol=1e-3, rtol=1e-3)


def test_a_defect_scores_above_normal_images_where_it_is(model):
    normal, defective = (
        LatentProbability().score(predicted(model, fitting.textures(6, 64, seed=1, blob=blob)))
        for blob in (False, True)
    )
    assert defective.image.min() > normal.image.max()
    inside = defective.map[:, 28:36, 28:36].mean((1, 2))
    assert (inside > defective.map[:, :12, :12].mean((1, 2)) + 0.05).all()


def test_scores_do_not_depend_on_the_batch(model):
    images = fitting.textures(3, 64, seed=1)
    together = LatentProbability().score(predicted(model, images))
    alone = LatentProbability().score(predicted(model, images[1:2]))
    torch.testing.assert_close(together.map[1:2], alone.map, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("widths", "kernels", "millions"),
    [((256, 512, 1024), "alternate", 41.3), ((64, 128, 256), "3x3", 4.65)],
)
def test_size_of_the_papers_flows(widths, kernels, millions):
    """Eight couplings whose two convolutions have C/2 x C/2 and C/2 x C weights at each tap."""
    with torch.device("meta"):
        flows = [FastFlow(kernels=kernels)._flow(width) for width in widths]
    taps = 4 * (9 + 1) if kernels == "alternate" else 8 * 9
    for width, flow in zip(widths, flows, strict=True):
        weights = sum(p.numel() for p in flow.parameters() if p.dim() == 4)
        assert weights == taps * 3 * (width // 2) ** 2
    total = sum(p.numel() for flow in flows for p in flow.parameters())
    assert total / 1e6 == pytest.approx(millions, rel=0.01)


def test_kernels_alternate_and_hidden_channels_follow_the_ratio():
    flow = made(kernels="alternate", steps=4, hidden_ratio=0.16)._flow(768)
    assert [c.second[0].kernel_size[0] for c in flow.couplings] == [3, 1, 3, 1]
    assert {c.second[0].out_channels for c in flow.couplings} == {61}
    assert [c.second[0].kernel_size[0] for c in made(kernels="3x3")._flow(8).couplings] == [3, 3]


# ---------------------------------------------------------------- scorer


def latents(*sizes, count=3):
    draw = torch.Generator().manual_seed(0)
    return Latents(tuple(Level(torch.randn(count, *size, 6, generator=draw)) for size in sizes))


def test_scores_are_minus_the_mean_probability_of_the_scales():
    port = latents((8, 8), (4, 4))
    cells = [-torch.exp(-0.5 * level.values.square().mean(-1))[:, None] for level in port.levels]
    expected = sum(interpolate(c, (32, 32), mode="bilinear")[:, 0] for c in cells).numpy() / 2
    scores = LatentProbability().score(Outputs((32, 32), port))
    np.testing.assert_allclose(scores.map, expected, rtol=1e-5)
    np.testing.assert_allclose(scores.image, expected.max((1, 2)), rtol=1e-5)
    smooth = LatentProbability(sigma=3).score(Outputs((32, 32), port))
    assert smooth.map.std() < 0.9 * scores.map.std()


def test_latents_of_whole_images_give_no_map():
    port = latents((1, 1), (1, 1))
    scores = LatentProbability().score(Outputs((32, 32), port))
    assert scores.map is None
    values = torch.stack([level.values[:, 0, 0] for level in port.levels])
    torch.testing.assert_close(scores.image, -(-0.5 * values.square().mean(-1)).exp().mean(0))


# ---------------------------------------------------------------- recipes and reported numbers


def test_recipes_are_valid_suites_with_the_papers_settings():
    catalogue = plugins.load(["fastflow"])
    recipes = {recipe.name: recipe for recipe in adbench_recipes()}
    assert {row.recipe for row in adbench_reported() if row.recipe} == set(recipes)
    for recipe in recipes.values():
        checked = suite.validate({**recipe.suite, "plugins": ["fastflow"]}, recipe.name)
        [[model]] = checked.models
        built = parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", model))
        assert (built.epochs, built.batch, built.steps) == (500, 32, 8)
        assert built.input.size == (256, 256)


def test_reported_means_are_those_of_the_categories():
    rows = [r for r in adbench_reported() if r.metric == "pixel_auroc"]
    for method in {r.method for r in rows if r.category == "bottle"}:
        values = {r.category: r.value for r in rows if r.method == method}
        mean = values.pop("mean")
        assert len(values) == 15
        assert np.mean(list(values.values())) == pytest.approx(mean, abs=0.0015), method


def test_numbers_of_the_best_test_epoch_are_marked():
    for row in adbench_reported():
        assert ("test-selected" in row.marks) is ("best epoch on test" in row.method)
