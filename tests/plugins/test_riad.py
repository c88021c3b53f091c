from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch

from adbench_harness.nn.gms import msgms
from adbench_harness.nn.ssim import ssim
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Batch, Reconstruction
from adbench_riad import adbench_recipes, adbench_reported
from adbench_riad.masks import disjoint_masks
from adbench_riad.model import PRESETS, RIAD, loss

SMOKE = PRESETS["smoke"]
LEARNING = SMOKE | {"epochs": 40, "batch": 2}
"""Long enough to find a defect."""


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(model, seed=0, checkpoint=None):
    checkpoint = checkpoint or FileCheckpoint(None)
    side = model.input.size
    tools = dataclasses.replace(
        fitting.tools(None, side, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    return model.fit(fitting.train(fitting.textures(8, side)), tools)


def made(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))[Reconstruction].outputs


@pytest.fixture(scope="module")
def trained():
    checkpoint = FileCheckpoint(None)
    return fitted(RIAD(**LEARNING), checkpoint=checkpoint), checkpoint.curves["loss"]


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("size", [(32, 48), (30, 41)])
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("cell", [1, 2, 16])
def test_masks_partition_the_image_into_cells(size, cell, parts):
    masks = disjoint_masks(size, cell, parts, draws())
    assert masks.shape == (parts, *size)
    assert torch.equal(masks.sum(0), torch.ones(size, dtype=torch.int64))
    counts = masks[:, ::cell, ::cell].sum((1, 2))
    assert counts.max() - counts.min() <= 1
    for top in range(0, size[0], cell):
        for left in range(0, size[1], cell):
            within = masks[:, top : top + cell, left : left + cell].flatten(1)
            assert (within == within[:, :1]).all()


def test_masks_follow_the_generator():
    first, again, other = (disjoint_masks((32, 32), 4, 3, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# ---------------------------------------------------------------- model


def test_training_lowers_the_loss_and_a_defect_is_reconstructed_worse(trained):
    model, losses = trained
    assert len(losses) == LEARNING["epochs"]
    assert losses[-1] < 0.25 * losses[0]
    normal, planted = (
        max(float(loss(each, images)) for each in made(model, images))
        for images in (fitting.textures(4, 64, 3, blob=blob) for blob in (False, True))
    )
    assert planted > 1.2 * normal


def test_each_size_of_cells_has_a_reconstruction():
    model = RIAD(size=(64, 96), width=2, epochs=0)
    outputs = made(fitted(model), fitting.textures(2, (64, 96)))
    assert [each.shape for each in outputs] == [(2, 3, 64, 96)] * 4


def test_what_is_under_a_mask_is_not_seen(trained):
    """A pixel comes from the network that does not see it: changing it changes only the others."""
    model, _ = trained
    images = fitting.textures(1, 64, 4)
    masks = disjoint_masks((64, 64), 16, 3, draws())[None]
    changed = torch.where(masks[:, :1], torch.rand(1, 3, 64, 64, generator=draws()), images)
    with torch.no_grad():
        before, after = (model.inpainted(each, masks) for each in (images, changed))
    hidden = masks[0, 0].expand(3, -1, -1)
    assert torch.equal(before[0][hidden], after[0][hidden])
    assert not torch.equal(before[0][~hidden], after[0][~hidden])


def test_loss_is_the_sum_of_three():
    one, other = torch.rand(2, 2, 3, 16, 24, generator=draws())
    expected = (one - other).square().mean() + 1 - ssim(one, other).mean()
    expected = expected + 1 - msgms(one, other, 4).mean()
    torch.testing.assert_close(loss(one, other), expected)


def test_masks_of_a_test_image_follow_its_own_seed(trained):
    model, _ = trained
    images = fitting.textures(1, 64, 4).expand(3, -1, -1, -1)
    with torch.no_grad():
        [finest, *_] = model.predict(Batch(images, torch.tensor([5, 6, 5])))[Reconstruction].outputs
    torch.testing.assert_close(finest[0], finest[2])
    assert not torch.allclose(finest[0], finest[1])


def test_the_learning_rate_falls_late(monkeypatch):
    rates = []
    monkeypatch.setattr(
        "adbench_riad.model.train_epochs", lambda *_, rate, **__: rates.append(rate)
    )
    fitted(RIAD(**SMOKE | {"epochs": 300}))
    [rate] = rates
    assert [rate(done) for done in (0, 249.9, 250, 299)] == [1, 1, 0.1, 0.1]


def test_the_seed_draws_weights_and_masks_and_nothing_else_is_drawn():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (fitted(RIAD(**SMOKE | {"epochs": 1}), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    images = fitting.textures(1, 64)
    assert all(map(torch.equal, made(first, images), made(again, images)))
    assert not torch.allclose(made(first, images)[0], made(other, images)[0])


# ---------------------------------------------------------------- presets, recipe, reported


def test_presets():
    catalogue = plugins.load(["riad"])
    written = grammar.component("riad:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "riad"
    paper = RIAD()
    assert (paper.epochs, paper.batch, paper.cells, paper.parts) == (300, 4, (2, 4, 8, 16), 3)
    with pytest.raises(ValueError, match="multiples of 16 px, not 72"):
        RIAD(size=72)


def test_recipe_is_a_valid_suite():
    catalogue = plugins.load(["riad"])
    [recipe] = adbench_recipes()
    checked = suite.validate({**recipe.suite, "plugins": ["riad"]}, recipe.name)
    for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
        [[wanted]] = axis
        parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {recipe.name}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.metric][row.category] = row.value
    assert set(columns) == {"image_auroc", "pixel_auroc", "pixel_ap"}
    for by_category in columns.values():
        mean = by_category.pop("mean")
        assert len(by_category) == 15
        assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=6e-4)
