from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, logsigmoid

from adbench_cflow import SIZES, adbench_recipes, adbench_reported
from adbench_cflow.model import CFlow, schedule
from adbench_cflow.scorers import FlowLikelihood
from adbench_harness.nn.flows import log_likelihood
from adbench_harness.nn.positions import sinusoids
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Latents, Level, LogDeterminants, Outputs


def fitted(checkpoint=None, count=8, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 64), log=checkpoint.log, checkpoint=checkpoint)
    model = CFlow(**CFlow.presets["smoke"] | {"resize": 64} | params)
    return model.fit(fitting.train(fitting.textures(count, 64)), tools)


def predicted(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))


@pytest.fixture(scope="module")
def model():
    return fitted(epochs=10, learning_rate=2e-3)


def scored(model, images, **params):
    scorer = FlowLikelihood(**params)
    train = fitting.Walked([predicted(model, fitting.textures(8, 64))])
    scorer.fit(train, torch.Generator())
    return scorer.score(predicted(model, images))


def test_training_raises_the_likelihood_of_normal_vectors(model):
    checkpoint = FileCheckpoint(None)
    fitted(checkpoint, epochs=10, learning_rate=2e-3)
    losses = checkpoint.curves["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_an_interrupted_training_ends_with_the_same_latents(tmp_path):
    """Its learning rate depends on the number of epochs, so the state of a longer one is used."""
    whole = fitted(FileCheckpoint(tmp_path / "whole.pt"), epochs=3)

    class Stopped(FileCheckpoint):
        def save(self, state):
            super().save(state)
            if state["epochs"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(Stopped(tmp_path / "part.pt"), epochs=3)
    resumed = fitted(FileCheckpoint(tmp_path / "part.pt"), epochs=3)
    images = fitting.textures(2, 64, seed=1)
    for a, b in zip(
        predicted(whole, images)[Latents].levels,
        predicted(resumed, images)[Latents].levels,
        strict=True,
    ):
        assert torch.equal(a.values, b.values)


@pytest.mark.parametrize("rotation", [0, 30])
def test_each_step_has_the_vectors_of_one_layer(monkeypatch, rotation):
    """8 images have 512, 128 and 32 vectors in three layers: steps of 100, the last of 32."""
    sizes = []

    def likelihood(latents, determinants):
        if latents.requires_grad:
            sizes.append(tuple(latents.shape))
        return log_likelihood(latents, determinants)

    monkeypatch.setattr("adbench_cflow.model.log_likelihood", likelihood)
    fitted(epochs=1, batch=8, vectors=100, rotation=rotation)
    assert sizes == [(100, 48)] * 5 + [(100, 64)] + [(32, 96)]


def test_loss_is_that_of_the_authors(monkeypatch):
    """-log sigmoid of the log-likelihood per channel, mean over vectors."""
    found = []

    def recorded(values):
        found.append(values)
        return logsigmoid(values)

    monkeypatch.setattr("adbench_cflow.model.functional.logsigmoid", recorded)
    checkpoint = FileCheckpoint(None)
    fitted(checkpoint, epochs=1, batch=8, vectors=10_000)
    expected = np.mean([float(-logsigmoid(values.detach()).mean()) for values in found])
    assert checkpoint.curves["loss"] == [pytest.approx(expected)]


def test_latents_depend_on_the_position(model):
    grid = torch.rand(1, 48, 1, 1).expand(1, 48, 8, 8)
    codes = model._conditions(grid)
    torch.testing.assert_close(codes[8 * 3 + 5], sinusoids(128, (8, 8))[:, 3, 5])
    with torch.no_grad():
        vectors = grid.permute(0, 2, 3, 1).flatten(0, 2)
        (latents,), _ = model.flows[0]((vectors,), (codes,))
    assert torch.cdist(latents, latents).fill_diagonal_(1).min() > 1e-4


def test_learning_rate_warms_up_then_falls_as_a_cosine():
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(0.04) == pytest.approx((0.1 + schedule(0.08)) / 2)
    assert schedule(0.5) == pytest.approx(1e-3 + 0.999 / 2)
    assert schedule(1) == pytest.approx(1e-3)
    rates = [schedule(done) for done in np.linspace(0.08, 1, 50)]
    assert max(rates) < 1
    assert (np.diff(rates) < 0).all()


def test_a_defect_scores_above_normal_images_where_it_is(model):
    normal, defective = (
        scored(model, fitting.textures(6, 64, seed=1, blob=blob)) for blob in (False, True)
    )
    assert defective.image.min() > normal.image.max()
    inside = defective.map[:, 28:36, 28:36].mean((1, 2))
    assert (inside > defective.map[:, :12, :12].mean((1, 2))).all()


def test_scores_do_not_depend_on_the_batch(model):
    images = fitting.textures(3, 64, seed=1)
    together, alone = scored(model, images), scored(model, images[1:2])
    torch.testing.assert_close(together.map[1:2], alone.map, rtol=1e-4, atol=1e-5)


def test_subnetworks_have_the_size_of_the_authors():
    """C/2 + 128 inputs, twice as many hidden neurons, a scale and a shift for C/2 channels."""
    flow = CFlow()._flow(512)
    assert len(flow.couplings) == 8
    first, _, last = flow.couplings[0].second
    assert (first.in_features, first.out_features, last.out_features) == (384, 768, 512)


# ---------------------------------------------------------------- scorer


def outputs(count=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    sizes = ((8, 8, 6), (4, 4, 10))
    latents = [torch.randn(count, *size, generator=draw) for size in sizes]
    determinants = [torch.randn(count, *size[:2], generator=draw) for size in sizes]
    return Outputs(
        (32, 32),
        Latents(tuple(map(Level, latents))),
        LogDeterminants(tuple(map(Level, determinants))),
    )


@pytest.mark.parametrize("maximum", ["train", "test"])
def test_scores_are_relative_to_the_maximum_of_each_level(maximum):
    train, test = [outputs(seed=1), outputs(seed=2)], [outputs(seed=3), outputs(seed=4)]

    def likelihoods(batch):
        found = []
        for z, d in zip(batch[Latents].levels, batch[LogDeterminants].levels, strict=True):
            width = z.values.shape[-1]
            squares = z.values.double().square().sum(-1)
            normal = -0.5 * squares - 0.5 * width * math.log(2 * math.pi)
            found.append((normal + d.values) / width)
        return found

    seen = [likelihoods(batch) for batch in (train if maximum == "train" else test)]
    tops = [max(float(level.max()) for level in levels) for levels in zip(*seen, strict=True)]
    expected = (
        sum(
            interpolate((1 - (level - top).exp())[:, None], (32, 32), mode="bilinear")[:, 0]
            for level, top in zip(likelihoods(test[0]), tops, strict=True)
        ).numpy()
        / 2
    )
    scorer = FlowLikelihood(maximum=maximum)
    assert scorer.transductive is (maximum == "test")
    scorer.fit(fitting.Walked(train), torch.Generator())
    if scorer.transductive:
        scorer.adapt(test)
    scores = scorer.score(test[0])
    np.testing.assert_allclose(scores.map, expected, atol=1e-5)
    np.testing.assert_allclose(scores.image, expected.max((1, 2)), atol=1e-5)


def test_likelihoods_above_the_maximum_stay_in_order():
    scorer = FlowLikelihood()
    scorer.fit(fitting.Walked([outputs(seed=1)]), torch.Generator())
    scorer.highest -= 3
    scores = scorer.score(outputs())
    assert scores.map.min() < 0
    assert scores.map.unique().numel() > 1000


# ---------------------------------------------------------------- recipes and reported numbers


def test_recipes_cover_every_category_at_the_papers_size():
    catalogue = plugins.load(["cflow"])
    covered = []
    for recipe in adbench_recipes():
        checked = suite.validate({**recipe.suite, "plugins": ["cflow"]}, recipe.name)
        [[model]] = checked.models
        built = parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", model))
        size = int(recipe.name.removeprefix("cflow-"))
        assert built.input.size == (size, size)
        assert (built.epochs, built.batch, built.rotation) == (200, 32, 5)
        covered += recipe.suite["datasets"]
    assert len(set(covered)) == len(covered) == 15
    assert SIZES[128] == "transistor"


def test_numbers_of_the_paper_are_marked_and_means_are_right():
    rows = list(adbench_reported())
    for row in rows:
        assert (row.marks == ()) is ("anomalib" in row.method), row
    for metric in ("image_auroc", "pixel_auroc"):
        values = {
            r.category: r.value for r in rows if "anomalib" in r.method and r.metric == metric
        }
        mean = values.pop("mean")
        assert len(values) == 15
        assert np.mean(list(values.values())) == pytest.approx(mean, abs=0.0015)
