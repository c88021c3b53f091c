from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings
from adbench_patchsvdd import adbench_recipes, adbench_reported
from adbench_patchsvdd.model import PatchSVDD
from adbench_patchsvdd.network import DIRECTIONS, Encoder, Losses, _pairs
from adbench_patchsvdd.scorers import PatchProduct

SMOKE = PatchSVDD.presets["smoke"]


def fitted(checkpoint=None, size=128, seed=0, count=8, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(
        fitting.tools(None, size, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    model = PatchSVDD(**SMOKE | {"size": size} | params)
    return model.fit(fitting.train(fitting.textures(count, size)), tools)


def levels(model, images):
    return model.predict(fitting.batch(images))[PatchEmbeddings].levels


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(4)


# ---------------------------------------------------------------- network and losses


def test_an_image_is_encoded_as_its_patches_are(encoder):
    """The features of a whole image equal those of its patches, cut out one by one."""
    model = PatchSVDD(**SMOKE | {"size": (128, 144), "strides": (4, 12)})
    model.encoder = encoder
    image = torch.rand(1, 3, 128, 144, generator=torch.Generator().manual_seed(0))
    found = model._features(image)
    for grid, side, stride in zip(found, (32, 64), (4, 12), strict=True):
        rows, columns = ((n - side) // stride + 1 for n in (128, 144))
        assert grid.shape == (1, rows, columns, 64)
        for row, column in ((0, 0), (1, 3), (rows - 1, columns - 1)):
            top, left = stride * row, stride * column
            patch = image[:, :, top : top + side, left : left + side]
            alone = encoder(patch)
            if side == 64:
                alone = encoder.merged(alone, 16)
            assert alone.shape[2:] == (1, 1)
            torch.testing.assert_close(grid[:, row, column], alone[..., 0, 0])


def test_the_papers_sizes():
    encoder = Encoder(32)
    assert sum(p.numel() for p in encoder.small.parameters()) == sum(
        (9 * before + 1) * after
        for before, after in zip(
            (3, 32, 64, 128, 128, 64, 32, 32), (32, 64, 128, 128, 64, 32, 32, 64), strict=True
        )
    )
    paper = PatchSVDD()
    paper.encoder = Encoder(1)
    small, large = paper._features(torch.zeros(1, 3, 256, 256))
    assert small.shape == (1, 57, 57, 64)
    assert large.shape == (1, 13, 13, 64)


@pytest.mark.parametrize(("side", "grid"), [(32, (49, 57)), (64, (33, 41))])
def test_the_second_patch_is_in_the_named_direction_and_inside(side, grid):
    """Where the first two features are a patch's place in cells, pairs tell where they were cut."""
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in grid), indexing="ij")
    places = torch.stack([y, x]).repeat(3, 1, 1, 1)
    losses, cells = Losses(side, 0.5), side // 2
    seen = []

    class Classifier(torch.nn.Module):
        def forward(self, offsets):
            seen.append(offsets)
            # Certain of the direction that is nearest to three quarters of a side.
            far = (offsets[:, None] - DIRECTIONS * (3 * cells // 4)).square().sum(2)
            return -1e3 * far

    losses.classifier = Classifier()
    loss = losses(places, 400, torch.Generator().manual_seed(0)).item()
    [offsets] = seen
    assert offsets.shape == (1200, 2)
    nearest = (offsets[:, None] - DIRECTIONS * (3 * cells // 4)).abs().amax(2).min(1)
    assert set(nearest.indices.tolist()) == set(range(8))
    assert nearest.values.max() == cells // 4
    # The cross-entropy is 0: each patch is where the loss wants it to be. Near patches are up to
    # an eighth of a side apart in both axes.
    limit = cells // 8
    steps = torch.arange(-limit, limit + 1.0)
    apart = torch.cartesian_prod(steps, steps).norm(dim=1).mean().item()
    assert loss == pytest.approx(0.5 * apart, rel=0.05)


def test_pairs_are_of_one_image_and_cover_it():
    draw = torch.Generator().manual_seed(0)
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(-1, -1, 5, 7)
    cells = torch.arange(35.0).view(1, 1, 5, 7).expand(3, -1, -1, -1)
    offsets = torch.tensor([[2, -3]]).expand(900, -1)
    here, there = _pairs(torch.cat([images, cells], 1), offsets, draw)
    assert torch.equal(here[:, 0], torch.arange(3.0).repeat_interleave(300))
    assert torch.equal(here[:, 0], there[:, 0])
    assert torch.equal(there[:, 1] - here[:, 1], torch.full((900,), 2 * 7 - 3.0))
    assert set(here[:, 1].tolist()) == {7 * r + c for r in range(3) for c in range(3, 7)}


def test_svdd_and_classification_reach_the_encoder(encoder):
    small = encoder(torch.rand(3, 3, 128, 128))
    Losses(64, 1.0)(encoder.merged(small, 16), 5, torch.Generator().manual_seed(0)).backward()
    for layer in (encoder.small[0], encoder.small[-2], encoder.quarters, encoder.large):
        assert layer.weight.grad.abs().max() > 0


# ---------------------------------------------------------------- scorer


def spread_by_hand(scores, side, stride, size):
    total, count = np.zeros(size), np.zeros(size)
    for row, values in enumerate(scores):
        for column, value in enumerate(values):
            where = (
                slice(stride * row, stride * row + side),
                slice(stride * column, stride * column + side),
            )
            total[where] += value
            count[where] += 1
    return total / np.where(count, count, np.nan)


def test_a_pixel_gets_the_product_of_the_mean_scores_of_its_patches():
    rng = np.random.default_rng(0)
    sides, strides, size = (32, 64), (8, 16), (130, 144)
    embeddings, banks, expected = [], [], 1.0
    for side, stride in zip(sides, strides, strict=True):
        rows, columns = ((n - side) // stride + 1 for n in size)
        grid, bank = rng.normal(size=(2, rows, columns, 5)), rng.normal(size=(7, 5))
        border = (side - stride) // 2
        box = (border, border, border + stride * rows, border + stride * columns)
        embeddings.append(Level(torch.tensor(grid).float(), box))
        banks.append(Neighbours(torch.tensor(bank).float()))
        distances = cdist(grid.reshape(-1, 5), bank).min(1).reshape(2, rows, columns)
        spread = np.stack([spread_by_hand(d, side, stride, size) for d in distances])
        spread[:, 128:] = spread[:, 127:128]  # no patch covers the last two rows
        expected = expected * spread
    outputs = Outputs(size, PatchEmbeddings(tuple(embeddings)), PatchBank(tuple(banks)))
    scores = PatchProduct().score(outputs)
    np.testing.assert_allclose(scores.map, expected, rtol=1e-4)
    np.testing.assert_allclose(scores.image, expected.max((1, 2)), rtol=1e-4)


def test_cells_without_overlap_are_their_own_patches():
    level = Level(torch.tensor([[[[0.0], [3.0]], [[1.0], [2.0]]]]))
    bank = Neighbours(torch.zeros(1, 1))
    scores = PatchProduct().score(Outputs((4, 4), PatchEmbeddings((level,)), PatchBank((bank,))))
    assert scores.map[0].tolist() == [[0, 0, 3, 3]] * 2 + [[1, 1, 2, 2]] * 2


# ---------------------------------------------------------------- model


def test_training_learns_where_patches_are_and_finds_a_defect():
    """Where images get brighter to the right and redder downwards, two patches tell it."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 128), torch.linspace(0, 1, 128), indexing="ij")
    images = torch.stack([y, x, 0.5 + 0 * x]).repeat(8, 1, 1, 1)
    images += 0.02 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    checkpoint = FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 128), log=checkpoint.log)
    model = PatchSVDD(**SMOKE | {"passes": 30})
    model.fit(fitting.train(images[:6].clamp(0, 1)), tools)
    losses = checkpoint.curves["loss"]
    assert losses[0] > 1.8 * np.log(8)  # two guesses among eight
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    planted = images[6:].clone()
    planted[:, :, 50:70, 50:70] = 0.0
    normal, found = (
        PatchProduct().score(model.predict(fitting.batch(i))) for i in (images[6:], planted)
    )
    assert found.image.min() > normal.image.max()
    peaks = found.map.flatten(1).argmax(1)
    for place in (peaks // 128, peaks % 128):
        assert ((place > 40) & (place < 80)).all()


def test_the_bank_has_all_patches_of_the_training_images():
    model = fitted(passes=0, count=5)
    images = (fitting.textures(5, 128) * 255).round() / 255
    for bank, level, count in zip(model.banks, levels(model, images), (13**2, 5**2), strict=True):
        assert len(bank) == 5 * count
        torch.testing.assert_close(bank.bank, level.values.flatten(0, 2))


def test_a_coreset_has_a_part_of_the_patches():
    model, whole = fitted(passes=0, coreset_ratio=0.1), fitted(passes=0)
    for bank, full in zip(model.banks, whole.banks, strict=True):
        assert len(bank) == len(full) // 10
        assert full.search(bank.bank)[0].max() < 1e-9


def test_images_are_standardised_by_the_training_set():
    model = fitted(passes=0)
    images = (fitting.textures(8, 128) * 255).round().div(255).double()
    torch.testing.assert_close(model.encoder.mean.flatten().double(), images.mean((0, 2, 3)))
    torch.testing.assert_close(
        model.encoder.std.flatten().double(), images.std((0, 2, 3), correction=0)
    )


def test_rectangles_and_boxes():
    model = fitted(passes=1, size=(128, 192))
    small, large = levels(model, fitting.textures(2, (128, 192)))
    assert small.values.shape == (2, 13, 21, 64)
    assert small.box == (12, 12, 116, 180)
    assert large.values.shape == (2, 5, 9, 64)
    assert large.box == (24, 24, 104, 168)
    with pytest.raises(ValueError, match="at least 128 px"):
        PatchSVDD(size=96)


def test_an_image_scores_alone_as_in_a_batch():
    model = fitted()
    images = fitting.textures(3, 128, 4)
    alone = [torch.cat([levels(model, i[None])[n].values for i in images]) for n in (0, 1)]
    for one, other in zip(alone, levels(model, images), strict=True):
        torch.testing.assert_close(one, other.values, rtol=1e-4, atol=1e-5)


def test_the_seed_draws_everything():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (fitted(seed=seed).banks[0].bank for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["patchsvdd"])
    written = grammar.component("patchsvdd:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "patchsvdd"
    paper = PatchSVDD()
    assert (paper.passes, paper.batch, paper.learning_rate) == (300 * 100, 64, 1e-4)
    assert (paper.strides, paper.coreset_ratio) == ((4, 16), 1)


def test_recipe_is_a_valid_suite():
    catalogue = plugins.load(["patchsvdd"])
    [recipe] = adbench_recipes()
    checked = suite.validate({**recipe.suite, "plugins": ["patchsvdd"]}, recipe.name)
    for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
        [[wanted]] = axis
        parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {recipe.name}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.metric][row.category] = row.value
    assert set(columns) == {"image_auroc", "pixel_auroc"}
    for by_category in columns.values():
        mean = by_category.pop("mean")
        assert len(by_category) == 15
        assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=6e-4)
