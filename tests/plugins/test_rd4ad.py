from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from adbench_harness.basic.scorers import MapScorer
from adbench_harness.errors import UserError
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import AnomalyMap, FeatureRequest
from adbench_rd4ad import adbench_recipes, adbench_reported
from adbench_rd4ad.model import ReverseDistillation
from adbench_rd4ad.network import Student

LAYERS = ("layer1", "layer2", "layer3")


def fitted(checkpoint=None, seed=0, size=64, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(
        fitting.tools(None, size, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    model = ReverseDistillation(**ReverseDistillation.presets["smoke"] | params)
    return model.fit(fitting.train(fitting.textures(8, size)), tools)


def levels(model, images):
    return [level.values for level in model.predict(fitting.batch(images))[AnomalyMap].levels]


def teacher(images):
    found = fitting.tools(None, 64).features(FeatureRequest("any", LAYERS))(fitting.batch(images))
    return [found[layer] for layer in LAYERS]


@pytest.fixture(scope="module")
def trained():
    checkpoint = FileCheckpoint(None)
    return fitted(checkpoint, epochs=10), checkpoint.curves["loss"]


def test_training_lowers_the_loss_and_finds_a_defect(trained):
    model, losses = trained
    assert len(losses) == 10
    assert losses[-1] < 0.5 * losses[0]
    normal, planted = (
        MapScorer(sigma=4)
        .score(model.predict(fitting.batch(fitting.textures(4, 64, 3, blob=blob))))
        .image
        for blob in (False, True)
    )
    assert planted.min() > 1.5 * normal.max()


def test_levels_are_cosine_distances(trained):
    model, _ = trained
    images = fitting.textures(2, 64, 5, blob=True)
    theirs = teacher(images)
    with torch.no_grad():
        ours = model.student(theirs)
    for level, a, b in zip(levels(model, images), ours, theirs, strict=True):
        a, b = a.double().numpy(), b.double().numpy()
        cosine = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
        np.testing.assert_allclose(level, 1 - cosine, atol=1e-5)


@pytest.mark.parametrize("kind", ["flattened", "positions"])
def test_losses_are_the_formulas(kind):
    model = fitted(epochs=0, loss=kind)
    images = fitting.textures(3, 64)
    theirs = teacher(images)
    with torch.no_grad():
        ours = model.student(theirs)
        found = model._loss(fitting.batch(images)).item()
    expected = 0.0
    for a, b in zip(ours, theirs, strict=True):
        a, b = a.double().numpy(), b.double().numpy()
        axes = (1, 2, 3) if kind == "flattened" else 1
        cosine = (a * b).sum(axes) / np.sqrt((a**2).sum(axes) * (b**2).sum(axes))
        expected += (1 - cosine).mean()
    assert found == pytest.approx(expected, rel=1e-4)


def test_an_image_scores_alone_as_in_a_batch(trained):
    model, _ = trained
    images = fitting.textures(3, 64, 4)
    alone = [
        torch.cat(grids) for grids in zip(*(levels(model, i[None]) for i in images), strict=True)
    ]
    for one, other in zip(alone, levels(model, images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "block", "convolutions"),
    [((256, 512, 1024), "bottleneck", (2 + 1, 9 + 1, 39 + 3)), ((64, 128, 256), "basic", None)],
)
def test_the_student_mirrors_a_resnet(channels, block, convolutions):
    """Blocks, strides and widths of the paper's (Wide ResNet-50) and of a ResNet-18's mirror."""
    with torch.device("meta"):
        student = Student(channels, block)
    grids = [
        torch.empty(2, count, 64 >> place, 64 >> place, device="meta")
        for place, count in enumerate(channels)
    ]
    embedding = student.embed(
        torch.cat([r(g) for r, g in zip(student.reduce, grids, strict=True)], 1)
    )
    assert embedding.shape == (2, 2 * channels[-1], 8, 8)
    assert [grid.shape for grid in student(grids)] == [grid.shape for grid in grids]
    assert [len(stage) for stage in student.decode] == (
        [3, 6, 4] if block == "bottleneck" else [2, 2, 2]
    )
    if convolutions:
        counted = [
            sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in part.modules())
            for part in (student.reduce, student.embed, student.decode)
        ]
        # Three for each block, and one in the shortcut of each stage's first block.
        assert counted == list(convolutions)
        assert student.embed[1].body[2][0].weight.shape == (1024, 1024, 3, 3)  # wide
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in student.modules()) == 6


def test_the_seed_draws_the_student():
    images = fitting.textures(1, 64)
    first, again, other = (levels(fitted(epochs=0, seed=seed), images) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_grids_that_do_not_halve_are_refused():
    with pytest.raises(UserError, match=r"16 x 16, 4 x 4; each must have half.*e\.g\. 256"):
        fitted(layers=("layer1", "layer3"))
    with pytest.raises(UserError, match="multiple of 32"):
        fitted(size=80)


def test_blocks_follow_the_width_of_the_teacher():
    model = ReverseDistillation()
    model.channels = [256, 512, 1024]
    assert model.chosen() == {"block": "bottleneck"}
    model.channels = [64, 128, 256]
    assert model.chosen() == {"block": "basic"}


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["rd4ad"])
    written = grammar.component("rd4ad:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "rd4ad"
    paper = ReverseDistillation()
    assert (paper.epochs, paper.batch, paper.learning_rate) == (200, 16, 5e-3)
    assert paper.input.size == (256, 256)


def test_recipe_is_a_valid_suite():
    catalogue = plugins.load(["rd4ad"])
    [recipe] = adbench_recipes()
    checked = suite.validate({**recipe.suite, "plugins": ["rd4ad"]}, recipe.name)
    for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
        [[wanted]] = axis
        parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {None, recipe.name}


def test_reported_means_are_those_of_the_categories():
    columns, misprints = defaultdict(dict), set()
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
        if "misprint" in row.marks:
            misprints.add((row.method, row.metric))
    assert misprints == {("Reverse Distillation in anomalib", "pixel_auroc")}
    assert columns["Reverse Distillation", "image_auroc"] == {"mean": 0.985}
    full = 0
    for column, by_category in columns.items():
        mean = by_category.pop("mean")
        if by_category:
            full += 1
            assert len(by_category) == 15
            found = np.mean(list(by_category.values()))
            assert (found == pytest.approx(mean, abs=6e-4)) == (column not in misprints)
    assert full == 5
