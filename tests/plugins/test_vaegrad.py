from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Reconstruction
from adbench_vaegrad import adbench_recipes, adbench_reported
from adbench_vaegrad.model import PRESETS, VAEGrad
from adbench_vaegrad.network import VAE, squared_error

SMOKE = PRESETS["smoke"]


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(model, seed=0, checkpoint=None, images=None):
    checkpoint = checkpoint or FileCheckpoint(None)
    side = model.input.size
    tools = dataclasses.replace(
        fitting.tools(None, side, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    images = fitting.textures(8, side) if images is None else images
    return model.fit(fitting.train(images), tools)


def made(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))[Reconstruction].outputs[0]


@pytest.fixture(scope="module")
def trained():
    checkpoint = FileCheckpoint(None)
    return fitted(VAEGrad(**SMOKE), checkpoint=checkpoint), checkpoint.curves["loss"]


# ---------------------------------------------------------------- network


def test_the_bound_is_squared_error_and_divergence():
    network = VAE((64, 64), 5)
    images = torch.rand(3, 3, 64, 64, generator=draws())
    with torch.no_grad():
        found = network.bound(images, draws(7))
        mean, log_variance = network.encode(images).chunk(2, 1)
        spread = (log_variance / 2).exp()
        noise = torch.randn(3, 5, 1, 1, generator=draws(7))
        error = (network.decode(mean + spread * noise) - images).square().sum((1, 2, 3))
        divergence = kl_divergence(Normal(mean, spread), Normal(0, 1)).sum((1, 2, 3))
    assert divergence.min() > 0
    torch.testing.assert_close(found, error + divergence)


def test_the_reconstruction_is_that_of_the_mean():
    network = VAE((64, 64), 5)
    images = torch.rand(2, 3, 64, 64, generator=draws())
    with torch.no_grad():
        torch.testing.assert_close(network(images), network.decode(network.encode(images)[:, :5]))


# ---------------------------------------------------------------- training and steps


def test_training_lowers_the_loss_and_a_defect_is_changed_more(trained):
    model, losses = trained
    assert losses[-1] < 0.8 * losses[0]
    normal, planted = (
        squared_error(images, made(model, images))
        for images in (fitting.textures(4, 64, 3, blob=blob) for blob in (False, True))
    )
    assert planted.min() > 10 * normal.max()


def test_one_step_is_the_papers(trained):
    model, _ = trained
    images = fitting.textures(2, 64, 4, blob=True)
    point = images.clone().requires_grad_()
    # Nothing has been changed before the first step: the distance has no part in its gradient.
    energy = (point - model.network(point)).square().sum()
    energy.backward()
    with torch.no_grad():
        expected = images - 0.5 * point.grad * (images - model.network(images)).square()
    one = VAEGrad(**SMOKE | {"iterations": 1})
    one.network, one.normal = model.network, 0.0
    torch.testing.assert_close(one.projected(images), expected)


def test_the_second_step_is_held_back_by_the_distance(trained):
    model, _ = trained
    images = fitting.textures(1, 64, 4, blob=True)

    def after(iterations, weight):
        other = VAEGrad(**SMOKE | {"iterations": iterations, "weight": weight})
        other.network, other.normal = model.network, 0.0
        return other.projected(images)

    first = after(1, 0.3)
    point = first.clone().requires_grad_()
    energy = (point - model.network(point)).square().sum() + 0.3 * (point - images).abs().sum()
    energy.backward()
    with torch.no_grad():
        expected = first - 0.5 * point.grad * (first - model.network(first)).square()
    torch.testing.assert_close(after(2, 0.3), expected)
    assert (after(9, 0.3) - images).abs().sum() < (after(9, 0.0) - images).abs().sum()


def test_steps_lower_the_reconstruction_loss(trained):
    model, _ = trained
    images = fitting.textures(2, 64, 4, blob=True)
    with torch.no_grad():
        before = squared_error(images, model.network(images))
        changed = made(model, images)
        after = squared_error(changed, model.network(changed))
    assert (after < 0.9 * before).all()


def test_an_image_stops_at_the_smallest_loss_of_the_training_images(trained):
    model, _ = trained
    images = torch.cat([fitting.textures(1, 64, 4, blob=blob) for blob in (False, True)])
    other = VAEGrad(**SMOKE)
    other.network = model.network
    with torch.no_grad():
        normal, planted = squared_error(images, other.network(images)).tolist()
    other.normal = (normal + planted) / 2
    changed = made(other, images)
    assert torch.equal(changed[0], images[0])
    assert not torch.equal(changed[1], images[1])
    training = fitting.train(fitting.textures(8, 64))
    with torch.no_grad():
        losses = [
            squared_error(batch.images, model.network(batch.images)).min()
            for batch in training.batches()
        ]
    assert model.normal == pytest.approx(float(min(losses)), rel=1e-5)


def test_no_step_leaves_the_image():
    model = fitted(VAEGrad(**SMOKE | {"epochs": 0, "iterations": 0}))
    images = fitting.textures(2, 64)
    assert torch.equal(made(model, images), images)


def test_textures_are_changed_piece_by_piece():
    model = fitted(VAEGrad(size=(64, 128), piece=64, latent=4, epochs=0, iterations=2))
    images = torch.rand(1, 3, 64, 128, generator=draws())
    whole = made(model, images)
    with torch.no_grad():
        torch.testing.assert_close(whole[..., 64:], model.projected(images[..., 64:]))
    assert not torch.equal(whole, images)


def test_predict_leaves_no_gradients(trained):
    model, _ = trained
    for parameter in model.network.parameters():
        parameter.grad = None
    assert not made(model, fitting.textures(1, 64)).requires_grad
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_the_seed_draws_weights_and_noise_and_nothing_else_is_drawn():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    short = SMOKE | {"epochs": 1, "samples": 8}
    first, again, other = (fitted(VAEGrad(**short), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    images = fitting.textures(1, 64, blob=True)
    assert torch.equal(made(first, images), made(again, images))
    assert not torch.allclose(made(first, images), made(other, images))


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["vaegrad"])
    written = grammar.component("vae-grad:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "vae-grad"
    paper = VAEGrad()
    assert (paper.step, paper.weight, paper.iterations, paper.latent) == (0.5, 0.05, 25, 100)
    with pytest.raises(ValueError, match="a piece of 256 px does not fit"):
        VAEGrad(size=128, piece=256)


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["vaegrad"])
    recipes = list(adbench_recipes())
    for recipe in recipes:
        checked = suite.validate({**recipe.suite, "plugins": ["vaegrad"]}, recipe.name)
        for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
            [[wanted]] = axis
            parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {None, *(r.name for r in recipes)}


def test_reported_mean_is_that_of_the_categories():
    rows = [row for row in adbench_reported() if row.method == "VAE-grad"]
    by_category = {row.category: row.value for row in rows}
    mean = by_category.pop("mean")
    assert len(by_category) == 15
    assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=1e-4)
    assert all(row.marks == ("printed-as-image-auroc",) for row in rows)
