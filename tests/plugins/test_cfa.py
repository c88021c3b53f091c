from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from adbench_cfa import adbench_recipes, adbench_reported
from adbench_cfa.model import CFA, Descriptor, Spheres
from adbench_cfa.scorers import Softmin
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings

SMALL = {"epochs": 2, "gamma_d": 4, "resize": 64, "crop": None}


def fitted(checkpoint=None, images=None, **params):
    images = fitting.textures(8, 64) if images is None else images
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 64), checkpoint=checkpoint, log=checkpoint.log)
    return CFA(**SMALL | params).fit(fitting.train(images), tools)


def embedded(model, images):
    return model.predict(fitting.batch(images))[PatchEmbeddings].levels[0].values


# ---------------------------------------------------------------- scorer


@pytest.mark.parametrize("neighbours", [1, 3])
def test_softmin_is_the_formula(neighbours):
    rng = np.random.default_rng(0)
    patches, bank = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(7, 5))
    distances = np.sort(cdist(patches.reshape(-1, 5), bank))[:, :neighbours]
    weights = np.exp(-distances) / np.exp(-distances).sum(1, keepdims=True)
    expected = (weights * distances)[:, 0].reshape(2, 3, 4)
    outputs = Outputs(
        (3, 4),
        PatchEmbeddings((Level(torch.tensor(patches).float()),)),
        PatchBank((Neighbours(torch.tensor(bank).float()),)),
    )
    scores = Softmin(neighbours=neighbours, sigma=0).score(outputs)
    np.testing.assert_allclose(scores.map, expected, rtol=1e-5)
    np.testing.assert_allclose(scores.image, expected.max((1, 2)), rtol=1e-5)


def test_an_uncertain_match_scores_lower():
    """Of two features equally far from their nearest vector, one has others as near."""
    bank = Neighbours(torch.tensor([[0.0], [10.0], [12.0], [12.0]]))
    level = Level(torch.tensor([[[[1.0], [11.0]]]]))
    scores = Softmin(sigma=0).score(Outputs((1, 2), PatchEmbeddings((level,)), PatchBank((bank,))))
    assert scores.map[0, 0, 0] > 2 * scores.map[0, 0, 1]


# ---------------------------------------------------------------- loss


@pytest.mark.parametrize("radius", [1e-5, 0.7, 2.0])
def test_loss_is_the_formula(radius):
    rng = np.random.default_rng(0)
    features, centres = rng.normal(size=(9, 4)), rng.normal(size=(20, 4))
    squares = np.sort(cdist(features, centres, "sqeuclidean"))
    attracted = np.maximum(squares[:, :3] - radius**2, 0).mean()
    repelled = np.maximum(radius**2 - squares[:, 3:6] - 0.1, 0).mean()
    spheres = Spheres()
    spheres.radius.data.fill_(radius)
    found = spheres(torch.tensor(features).float(), Neighbours(torch.tensor(centres).float()))
    assert found.item() == pytest.approx(1e3 * (attracted + repelled), rel=1e-5)


def test_loss_reaches_features_and_radius_and_not_the_centres():
    features = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    bank = Neighbours(torch.randn(20, 4, generator=torch.Generator().manual_seed(1)))
    spheres = Spheres()
    before = bank.bank.clone()
    spheres(features, bank).backward()
    assert features.grad.abs().sum(1).min() > 0
    assert spheres.radius.grad < 0  # larger spheres are entered more easily
    assert torch.equal(bank.bank, before)


def test_a_bank_of_few_centres_repels_from_none():
    bank = Neighbours(torch.zeros(2, 4))
    assert torch.isfinite(Spheres()(torch.ones(3, 4), bank))


# ---------------------------------------------------------------- model


def test_descriptor_sees_the_position():
    torch.manual_seed(0)
    descriptor = Descriptor(5, 3)
    assert sum(p.numel() for p in descriptor.parameters()) == (5 + 2 + 1) * 3
    features = descriptor(torch.ones(1, 5, 4, 6))
    assert features.shape == (1, 4, 6, 3)
    down, across = features.diff(dim=1), features.diff(dim=2)
    slope = descriptor.project.weight[:, 5:, 0, 0]
    torch.testing.assert_close(down, (slope[:, 0] * 2 / 3).expand_as(down))
    torch.testing.assert_close(across, (slope[:, 1] * 2 / 5).expand_as(across))


def test_the_bank_is_the_mean_of_the_initial_features_at_each_position():
    images = fitting.textures(5, 64)
    model = fitted(images=images, epochs=0)
    expected = embedded(model, images).mean(0).flatten(0, 1)
    assert expected.shape == (16 * 16, (32 + 48 + 64) // 4)
    # The images of a training set have 8 bits.
    torch.testing.assert_close(model.bank.bank, expected, atol=1e-2, rtol=0)
    trained = fitted(images=images)
    assert torch.equal(trained.bank.bank, model.bank.bank)
    assert not torch.allclose(embedded(trained, images), embedded(model, images))


def test_gamma_c_and_gamma_d_compress_the_bank():
    model = fitted(epochs=0, gamma_c=4, gamma_d=2)
    assert model.bank.bank.shape == (64, 72)


def test_training_lowers_the_loss_and_finds_a_defect():
    checkpoint = FileCheckpoint(None)
    model = fitted(checkpoint, epochs=5, learning_rate=1e-2)
    losses = checkpoint.curves["loss"]
    assert len(losses) == 5
    assert losses[-1] < 0.5 * losses[0]
    normal, planted = (
        Softmin().score(model.predict(fitting.batch(fitting.textures(4, 64, 3, blob=blob)))).image
        for blob in (False, True)
    )
    assert planted.min() > normal.max()


def test_an_image_scores_alone_as_in_a_batch():
    model = fitted()
    images = fitting.textures(3, 64, 4)
    together = embedded(model, images)
    alone = torch.cat([embedded(model, image[None]) for image in images])
    torch.testing.assert_close(alone, together)


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path):
    class Stops(FileCheckpoint):
        def save(self, state):
            super().save(state)
            raise KeyboardInterrupt

    whole = fitted()
    with pytest.raises(KeyboardInterrupt):
        fitted(Stops(tmp_path / "state.pt"))
    resumed = fitted(FileCheckpoint(tmp_path / "state.pt"))
    for one, other in zip(
        (resumed.bank.bank, *resumed.descriptor.parameters()),
        (whole.bank.bank, *whole.descriptor.parameters()),
        strict=True,
    ):
        assert torch.equal(one, other)


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["cfa"])

    def label(written):
        return parameters.resolve(catalogue, "model", grammar.component(written)).label

    assert label("cfa") == "cfa(epochs=4)"
    assert label("cfa:preset=paper") == "cfa"
    paper = CFA()
    assert (paper.epochs, paper.batch, paper.learning_rate) == (30, 4, 1e-3)
    assert paper.input.size == (224, 224)


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["cfa"])
    recipes = {recipe.name: recipe for recipe in adbench_recipes()}
    for recipe in recipes.values():
        checked = suite.validate({**recipe.suite, "plugins": ["cfa"]}, recipe.name)
        for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
            [[wanted]] = axis
            parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {None, *recipes}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
        assert ("test-selected" in row.marks) == (row.recipe is not None)
    assert len(columns) == 8
    for by_category in columns.values():
        mean = by_category.pop("mean")
        assert len(by_category) == 15
        assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=6e-4)
