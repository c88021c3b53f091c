from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.basic.scorers import MapScorer
from adbench_harness.errors import UserError
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import AnomalyMap, FeatureRequest
from adbench_stfpm import adbench_recipes, adbench_reported
from adbench_stfpm.model import STFPM, untrained

LAYERS = ("layer1", "layer2", "layer3")
NETWORKS = {backbone.name: backbone for backbone in BACKBONES}


def fitted(checkpoint=None, seed=0, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(
        fitting.tools(None, 64, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    smoke = STFPM.presets["smoke"]
    return STFPM(**smoke | params).fit(fitting.train(fitting.textures(8, 64)), tools)


def mapped(model, images):
    return model.predict(fitting.batch(images))[AnomalyMap].levels[0].values


@pytest.fixture(scope="module")
def trained():
    checkpoint = FileCheckpoint(None)
    return fitted(checkpoint), checkpoint.curves["loss"]


def test_training_lowers_the_loss_and_finds_a_defect(trained):
    model, losses = trained
    assert len(losses) == 10
    assert losses[-1] < 0.4 * losses[0]
    normal, planted = (
        MapScorer().score(model.predict(fitting.batch(fitting.textures(4, 64, 3, blob=blob)))).image
        for blob in (False, True)
    )
    assert planted.min() > normal.max()


def test_the_map_is_the_product_of_the_layers_distances(trained):
    model, _ = trained
    images = fitting.textures(2, 64, 5, blob=True)
    teacher = fitting.tools(None, 64).features(FeatureRequest("resnet18", LAYERS))
    ours, theirs = model.student(images), teacher(fitting.batch(images))
    expected = 1.0
    for layer in LAYERS:
        a, b = (grid[layer].detach().numpy().astype(float) for grid in (ours, theirs))
        a, b = (g / np.sqrt((g**2).sum(1, keepdims=True)) for g in (a, b))
        distance = torch.tensor(((a - b) ** 2).sum(1))
        expected = expected * nn.functional.interpolate(
            distance[:, None], (16, 16), mode="bilinear"
        )
    torch.testing.assert_close(mapped(model, images), expected[:, 0].float(), rtol=1e-3, atol=1e-6)


def test_a_student_that_equals_its_teacher_finds_nothing():
    model = STFPM(**STFPM.presets["smoke"])
    tools = fitting.tools(None, 64)
    model.teacher = tools.features(model.feature_requests[0])
    model.rebuild({}, tools)
    model.student.eval()
    assert mapped(model, fitting.textures(2, 64, blob=True)).max() < 1e-12


def test_an_image_scores_alone_as_in_a_batch(trained):
    model, _ = trained
    images = fitting.textures(3, 64, 4)
    alone = torch.cat([mapped(model, image[None]) for image in images])
    torch.testing.assert_close(alone, mapped(model, images), rtol=1e-4, atol=1e-6)


def test_the_seed_draws_the_student_and_nothing_else_is_drawn():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (fitted(epochs=0, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    images = fitting.textures(1, 64)
    assert torch.equal(mapped(first, images), mapped(again, images))
    assert not torch.allclose(mapped(first, images), mapped(other, images))


def test_an_untrained_resnet_has_its_authors_initial_weights():
    network = NETWORKS["resnet18"]().network(LAYERS)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 3.0)
    for buffer in network.buffers():
        buffer.fill_(3)
    untrained(network, torch.Generator().manual_seed(0))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
            assert abs(module.weight.mean()) < 0.1 * module.weight.std()
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.running_var.eq(1).all()
            assert not any(map(torch.any, (module.bias, module.running_mean)))
    # 11.7 M parameters of a ResNet-18 less those of layer 4 and of the classifier.
    assert sum(p.numel() for p in network.parameters()) == 2_782_784


def test_weights_that_cannot_be_reset_are_refused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))

    with pytest.raises(UserError, match=r"'1' \(Tokens\).*resnet18"):
        untrained(nn.Sequential(nn.Linear(2, 2), Tokens()), torch.Generator())


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["stfpm"])
    written = grammar.component("stfpm:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "stfpm"
    paper = STFPM()
    assert (paper.epochs, paper.batch, paper.learning_rate) == (100, 32, 0.4)
    assert paper.input.size == (256, 256)


def test_recipe_is_a_valid_suite():
    catalogue = plugins.load(["stfpm"])
    [recipe] = adbench_recipes()
    checked = suite.validate({**recipe.suite, "plugins": ["stfpm"]}, recipe.name)
    for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
        [[wanted]] = axis
        parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} == {None, recipe.name}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
    assert len(columns) == 8
    assert columns["STFPM", "pixel_auroc"]["bottle"] == 0.988
    for by_category in columns.values():
        mean = by_category.pop("mean", None)
        assert len(by_category) == 15
        if mean is not None:
            assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=6e-4)
