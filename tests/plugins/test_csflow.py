from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from adbench_csflow import adbench_recipes, adbench_reported, requires
from adbench_csflow.model import CSFlow
from adbench_differnet.scorers import LatentNorm
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Latents, LogDeterminants

SMALL = {"size": 128, "layer": "layer3", "hidden": 8, "batch": 4}


def fitted(checkpoint=None, count=8, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 128), log=checkpoint.log, checkpoint=checkpoint)
    return CSFlow(**SMALL | params).fit(fitting.train(fitting.textures(count, 128)), tools)


def predicted(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))


@pytest.fixture(scope="module")
def model():
    return fitted(epochs=12, learning_rate=2e-3)


def test_training_raises_the_likelihood_of_normal_images():
    checkpoint = FileCheckpoint(None)
    fitted(checkpoint, epochs=12, learning_rate=2e-3)
    losses = checkpoint.curves["loss"]
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0])


def test_an_interrupted_training_ends_with_the_same_latents(tmp_path):
    whole = fitted(FileCheckpoint(tmp_path / "whole.pt"), epochs=3)
    fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=2)
    resumed = fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=3)
    images = fitting.textures(2, 128, seed=1)
    for a, b in zip(
        predicted(whole, images)[Latents].levels,
        predicted(resumed, images)[Latents].levels,
        strict=True,
    ):
        assert torch.equal(a.values, b.values)


def test_levels_are_the_layer_at_three_sizes_of_the_image(model):
    outputs = predicted(model, fitting.textures(3, 128))
    shapes = [tuple(level.values.shape) for level in outputs[Latents].levels]
    assert shapes == [(3, 8, 8, 64), (3, 4, 4, 64), (3, 2, 2, 64)]
    assert [tuple(d.values.shape) for d in outputs[LogDeterminants].levels] == [
        shape[:3] for shape in shapes
    ]


def test_latents_can_be_turned_back_into_the_features(model):
    images = fitting.textures(2, 128, seed=3)
    latents = tuple(
        level.values.permute(0, 3, 1, 2) for level in predicted(model, images)[Latents].levels
    )
    with torch.no_grad():
        found = model.flow.inverse(latents)
    for back, grid in zip(found, model._grids(fitting.batch(images)), strict=True):
        torch.testing.assert_close(back, grid, atol=1e-3, rtol=1e-3)


def test_a_change_at_the_coarsest_scale_reaches_the_finest(model):
    grids = model._grids(fitting.batch(fitting.textures(1, 128)))
    with torch.no_grad():
        (before, *_), _ = model.flow(grids)
        (after, *_), _ = model.flow((*grids[:2], grids[2] + 1))
    assert not torch.allclose(before, after, atol=1e-4)


def test_a_defect_scores_above_normal_images_where_it_is(model):
    normal, defective = (
        LatentNorm().score(predicted(model, fitting.textures(6, 128, seed=1, blob=blob)))
        for blob in (False, True)
    )
    assert defective.image.min() > normal.image.max()
    inside = defective.map[:, 58:70, 58:70].mean((1, 2))
    assert (inside > defective.map[:, :24, :24].mean((1, 2))).all()


def test_scores_do_not_depend_on_the_batch(model):
    images = fitting.textures(3, 128, seed=1)
    together = LatentNorm().score(predicted(model, images))
    alone = LatentNorm().score(predicted(model, images[1:2]))
    torch.testing.assert_close(together.image[1:2], alone.image, rtol=1e-5, atol=0)


def test_flow_has_the_papers_shape():
    """Four couplings of 304 channels with kernels 3, 3, 3, 5 and 1024 hidden channels."""
    with torch.device("meta"):
        couplings = CSFlow()._flow(304).couplings
    assert [c.first.same[0].kernel_size[0] for c in couplings] == [3, 3, 3, 5]
    for coupling in couplings:
        for network in (coupling.first, coupling.second):
            sizes = {(c.in_channels, c.out_channels) for c in network.first}
            assert sizes == {(152, 1024)}
            for part in (network.same, network.up, network.down):
                assert {(c.in_channels, c.out_channels) for c in part} == {(1024, 304)}
            assert network.factors.shape == (3,)


@pytest.mark.parametrize(
    ("backbone", "expected"), [("efficientnet_b5", "features.6"), ("resnet18", "layer3")]
)
def test_the_default_layer_is_the_papers_if_the_backbone_is(backbone, expected):
    model = CSFlow(backbone=backbone)
    assert model.chosen() == {"layer": expected}
    assert {request.layers for request in model.feature_requests} == {(expected,)}
    assert CSFlow(layer="other").chosen() == {"layer": "other"}


def test_recipe_has_the_papers_settings():
    assert requires == ("differnet",)  # its scorer
    catalogue = plugins.load(["csflow"])
    [recipe] = adbench_recipes()
    assert {row.recipe for row in adbench_reported()} == {recipe.name}
    checked = suite.validate({**recipe.suite, "plugins": ["csflow"]}, recipe.name)
    [[model]] = checked.models
    built = parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", model))
    assert (built.epochs, built.batch, built.hidden) == (240, 16, 1024)
    assert [r.input.size[0] for r in built.feature_requests] == [768, 384, 192]


def test_reported_means_are_those_of_the_categories():
    rows = list(adbench_reported())
    for method, metric in {(r.method, r.metric) for r in rows}:
        values = {r.category: r.value for r in rows if (r.method, r.metric) == (method, metric)}
        mean = values.pop("mean")
        assert len(values) == 15
        assert np.mean(list(values.values())) == pytest.approx(mean, abs=0.0015)
