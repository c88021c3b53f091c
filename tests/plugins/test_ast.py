from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from adbench_ast import adbench_recipes, adbench_reported
from adbench_ast.model import AST
from adbench_ast.network import Student
from adbench_harness.basic.scorers import MapScorer
from adbench_harness.nn.positions import sinusoids
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import AnomalyMap, Latents, LogDeterminants

SMALL = {"size": 64, "layer": "layer2", "batch": 4, "teacher_hidden": 8, "student_hidden": 16}


def fitted(checkpoint=None, count=8, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 64), log=checkpoint.log, checkpoint=checkpoint)
    return AST(**SMALL | params).fit(fitting.train(fitting.textures(count, 64)), tools)


def predicted(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))


@pytest.fixture(scope="module")
def trained():
    checkpoint = FileCheckpoint(None)
    model = fitted(checkpoint, epochs=25, learning_rate=2e-3)
    return model, checkpoint.curves


@pytest.fixture(scope="module")
def model(trained):
    return trained[0]


def test_both_networks_learn(trained):
    _, curves = trained
    teacher, student = curves["teacher loss"], curves["student loss"]
    assert teacher[-1] < teacher[0] - 0.2 * abs(teacher[0])
    assert student[-1] < 0.7 * student[0]


def test_an_interrupted_training_ends_with_the_same_maps(tmp_path):
    """It is interrupted while the student trains, whose normalisation has statistics of its own."""

    class Stopped(FileCheckpoint):
        def save(self, state):
            super().save(state)
            if state.get("student", {}).get("epochs") == 1:
                raise KeyboardInterrupt

    whole = fitted(FileCheckpoint(tmp_path / "whole.pt"), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fitted(Stopped(tmp_path / "part.pt"), epochs=2)
    resumed = fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=2)
    images = fitting.textures(2, 64, seed=1)
    for port in (AnomalyMap, Latents):
        [a], [b] = (predicted(m, images)[port].levels for m in (whole, resumed))
        assert torch.equal(a.values, b.values)


def test_map_is_the_mean_squared_difference_of_the_latents(model):
    images = fitting.textures(2, 64, seed=1)
    outputs = predicted(model, images)
    grid = model._grid(fitting.batch(images))
    codes = sinusoids(32, (8, 8)).expand(2, -1, -1, -1)
    with torch.no_grad():
        imitated = model.student(torch.cat([grid, codes], 1)).permute(0, 2, 3, 1)
    [latents], [found] = outputs[Latents].levels, outputs[AnomalyMap].levels
    expected = (imitated - latents.values).square().mean(-1)
    torch.testing.assert_close(found.values, expected)
    assert outputs[LogDeterminants].levels[0].values.shape == (2, 8, 8)
    with torch.no_grad():
        (back,) = model.teacher.inverse((latents.values.permute(0, 3, 1, 2),), (codes,))
    torch.testing.assert_close(back, grid, atol=1e-3, rtol=1e-3)


def test_a_defect_scores_above_normal_images_where_it_is(model):
    for pool in ("mean", "max"):
        normal, defective = (
            MapScorer(pool=pool).score(predicted(model, fitting.textures(6, 64, seed=1, blob=b)))
            for b in (False, True)
        )
        assert defective.image.min() > normal.image.max()
        inside = defective.map[:, 28:36, 28:36].mean((1, 2))
        assert (inside > defective.map[:, :12, :12].mean((1, 2))).all()


def test_scores_do_not_depend_on_the_batch(model):
    images = fitting.textures(3, 64, seed=1)
    together = MapScorer().score(predicted(model, images))
    alone = MapScorer().score(predicted(model, images[1:2]))
    torch.testing.assert_close(together.map[1:2], alone.map, rtol=1e-4, atol=1e-5)


def test_networks_have_the_papers_shape():
    """A teacher of four couplings with 64 hidden channels, a student of four blocks of 1024."""
    with torch.device("meta"):
        teacher, student = AST()._networks(304)
    couplings = teacher.couplings
    assert [c.first[0].kernel_size[0] for c in couplings] == [3, 3, 3, 5]
    assert {(c.first[0].in_channels, c.first[0].out_channels) for c in couplings} == {(184, 64)}
    assert len(student.blocks) == 4
    taps = 9 * (336 * 1024 + 8 * 1024**2 + 1024 * 304)
    weights = sum(p.numel() for p in student.parameters() if p.dim() == 4)
    assert weights == taps


def test_a_student_keeps_the_grid():
    assert Student(7, 5, 4).eval()(torch.zeros(2, 7, 6, 9)).shape == (2, 5, 6, 9)


@pytest.mark.parametrize(
    ("backbone", "expected"), [("efficientnet_b5", "features.6"), ("resnet18", "layer3")]
)
def test_the_default_layer_is_the_papers_if_the_backbone_is(backbone, expected):
    model = AST(backbone=backbone)
    assert model.chosen() == {"layer": expected}
    assert {request.layers for request in model.feature_requests} == {(expected,)}
    assert AST(layer="other").chosen() == {"layer": "other"}


def test_recipe_has_the_papers_settings():
    catalogue = plugins.load(["ast"])
    [recipe] = adbench_recipes()
    assert {row.recipe for row in adbench_reported() if row.recipe} == {recipe.name}
    checked = suite.validate({**recipe.suite, "plugins": ["ast"]}, recipe.name)
    [[model]] = checked.models
    built = parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", model))
    assert (built.epochs, built.batch, built.input.size) == (72, 8, (768, 768))


def test_reported_mean_is_that_of_the_categories():
    values = {r.category: r.value for r in adbench_reported() if r.method == "AST"}
    mean = values.pop("mean")
    assert len(values) == 15
    assert np.mean(list(values.values())) == pytest.approx(mean, abs=0.0005)
