from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, uniform_filter

from adbench_harness.basic.scorers import MapScorer, OwnScorer, SoftmaxScorer
from adbench_harness.types import AnomalyMap, DefectLogits, ImageScore, Level, Outputs


def outputs(*maps, size=(40, 48)):
    return Outputs(size, AnomalyMap(tuple(Level(values) for values in maps)))


@pytest.fixture(scope="module")
def maps():
    return torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))


def test_map_at_input_size_is_passed_on(maps):
    scores = MapScorer().score(outputs(maps))
    torch.testing.assert_close(scores.map, maps)
    torch.testing.assert_close(scores.image, maps.amax((1, 2)))
    assert scores.classes is None


def test_smoothing_comes_before_the_image_score(maps):
    scores = MapScorer(sigma=2).score(outputs(maps))
    np.testing.assert_allclose(scores.map, [gaussian_filter(m, 2) for m in maps.numpy()], rtol=1e-4)
    torch.testing.assert_close(scores.image, scores.map.amax((1, 2)))


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_levels_are_combined_at_input_size(maps, combine):
    coarse = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(coarse[:, None], (40, 48), mode="bilinear")[:, 0]
    expected = (maps + large) / 2 if combine == "mean" else torch.maximum(maps, large)
    scores = MapScorer(combine=combine).score(outputs(maps, coarse))
    torch.testing.assert_close(scores.map, expected)


@pytest.mark.parametrize("shift", [0, -3])
def test_image_score_pooling(maps, shift):
    """Shifting a map shifts its score, whatever its sign."""
    maps = maps + shift
    pixels = maps.flatten(1).numpy()

    def image(**params):
        return MapScorer(**params).score(outputs(maps)).image

    np.testing.assert_allclose(image(pool="mean"), pixels.mean(1), rtol=1e-5)
    for share, count in ((0.01, 19), (0.5, 960), (1.0, 1920), (1e-9, 1)):
        top = np.sort(pixels, 1)[:, -count:].mean(1)
        np.testing.assert_allclose(image(pool="top", share=share), top, rtol=1e-5)
    lowest = pixels.min(1)
    pooled = [
        uniform_filter(m, 21, mode="constant", cval=low).max()
        for m, low in zip(maps.numpy().astype(float), lowest, strict=True)
    ]
    np.testing.assert_allclose(image(pool="mean-pooled-max"), pooled, rtol=1e-5)


def test_mean_pooling_is_that_of_the_papers_on_probabilities():
    """Zero padding, where the map's minimum is zero."""
    maps = torch.zeros(1, 40, 48)
    maps[0, :8, :8] = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    papers = torch.nn.functional.avg_pool2d(maps, 21, stride=1, padding=10).amax((1, 2))
    score = MapScorer(pool="mean-pooled-max").score(outputs(maps)).image
    torch.testing.assert_close(score, papers)


def test_map_smaller_than_the_pooling_window():
    scores = MapScorer(pool="mean-pooled-max").score(outputs(torch.ones(2, 4, 4), size=(8, 8)))
    torch.testing.assert_close(scores.image, torch.ones(2))


def test_own_image_score():
    values = torch.tensor([0.5, -2.0])
    scores = OwnScorer().score(Outputs((8, 8), ImageScore(values)))
    assert torch.equal(scores.image, values)
    assert scores.map is None


def test_softmax_names_its_classes():
    logits = torch.tensor([[0.0, 3.0], [1000.0, 0.0]])
    scores = SoftmaxScorer().score(Outputs((8, 8), DefectLogits(logits, ("good", "crack"))))
    torch.testing.assert_close(scores.classes, torch.tensor([[0.0474259, 0.9525741], [1.0, 0.0]]))
    assert scores.class_names == ("good", "crack")
    assert scores.image is None
