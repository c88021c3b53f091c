from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch

from adbench_autoencoder import adbench_recipes, adbench_reported
from adbench_autoencoder.model import L2AE, PRESETS, SHIFT, SSIMAE
from adbench_harness.nn.ssim import ssim_map
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Reconstruction

SMOKE = PRESETS["smoke"]
LEARNING = SMOKE | {"epochs": 8, "samples": 80, "batch": 2}
"""Long enough to find a defect."""


def fitted(model, seed=0, checkpoint=None):
    checkpoint = checkpoint or FileCheckpoint(None)
    side = model.input.size
    tools = dataclasses.replace(
        fitting.tools(None, side, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    return model.fit(fitting.train(fitting.textures(8, side)), tools)


def made(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))[Reconstruction].outputs[0]


@pytest.fixture(scope="module", params=[L2AE, SSIMAE])
def trained(request):
    checkpoint = FileCheckpoint(None)
    return fitted(request.param(**LEARNING), checkpoint=checkpoint), checkpoint.curves["loss"]


def test_training_lowers_the_loss_and_a_defect_is_reconstructed_worse(trained):
    model, losses = trained
    assert len(losses) == LEARNING["epochs"]
    assert losses[-1] < 0.5 * losses[0]
    normal, planted = (
        model.loss(made(model, images), images)
        for images in (fitting.textures(4, 64, 3, blob=blob) for blob in (False, True))
    )
    assert planted > 1.3 * normal


def test_losses():
    one, other = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    squares = (one - other).square().mean()
    torch.testing.assert_close(L2AE().loss(one, other), squares)
    torch.testing.assert_close(SSIMAE().loss(one, other), 1 - ssim_map(one, other).mean())


def test_the_seed_draws_the_weights_and_nothing_else_is_drawn():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (fitted(L2AE(**SMOKE | {"epochs": 0}), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    images = fitting.textures(1, 64)
    assert torch.equal(made(first, images), made(again, images))
    assert not torch.allclose(made(first, images), made(other, images))


@pytest.mark.parametrize(("samples", "seen"), [(1, 8), (8, 8), (9, 16), (20, 24)])
def test_an_epoch_has_as_many_images_as_asked(samples, seen, monkeypatch):
    counts = []

    def counted(self, made, images):
        counts.append(len(images))
        return (made - images).square().mean()

    monkeypatch.setattr(L2AE, "loss", counted)
    fitted(L2AE(**SMOKE | {"epochs": 2, "samples": samples}))
    assert sum(counts) == 2 * seen


def test_objects_are_moved_a_little():
    model = L2AE(size=64)
    images = torch.arange(64.0).expand(500, 3, 64, 64)
    drawn = model._drawn(images, torch.Generator().manual_seed(0))
    assert drawn.shape == images.shape
    moved = drawn[:, 0, 0, 32] - 32
    assert set(moved.tolist()) == set(range(-SHIFT, SHIFT + 1))


def test_textures_are_drawn_and_reconstructed_in_pieces():
    model = L2AE(size=(96, 128), piece=64, latent=4, epochs=0)
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    assert model._drawn(images, torch.Generator()).shape == (2, 3, 64, 64)
    fitted(model)
    model.network = torch.nn.Identity()
    torch.testing.assert_close(made(model, images), images)
    seen = []
    model.network = lambda pieces: seen.append(pieces) or pieces
    made(model, images)
    assert torch.equal(seen[-1], images[:, :, 32:, 64:])
    assert len(seen) == 6


def test_a_piece_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a piece of 256 px does not fit"):
        L2AE(size=128, piece=256)
    with pytest.raises(ValueError, match="multiples of 16 px, not 72"):
        L2AE(size=128, piece=72)


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["autoencoder"])

    def label(written):
        return parameters.resolve(catalogue, "model", grammar.component(written)).label

    assert label("ssim-ae:preset=paper") == "ssim-ae"
    assert label("l2-ae:preset=textures") == "l2-ae(latent=100,piece=128)"
    paper = SSIMAE()
    assert (paper.epochs, paper.samples, paper.batch, paper.latent) == (200, 10_000, 128, 500)
    assert (paper.learning_rate, paper.input.size) == (2e-4, (256, 256))


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["autoencoder"])
    recipes = list(adbench_recipes())
    for recipe in recipes:
        checked = suite.validate({**recipe.suite, "plugins": ["autoencoder"]}, recipe.name)
        for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
            [[wanted]] = axis
            parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {None, *(r.name for r in recipes)}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
    for method, toothbrush in (("L2-AE", 0.93), ("SSIM-AE", 0.92)):
        by_category = columns[method, "pixel_auroc"]
        assert by_category["toothbrush"] == toothbrush
        mean = by_category.pop("mean")
        assert len(by_category) == 15
        assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=1e-4)
