from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from adbench_harness.nn.maps import upsample
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.testing import fitting
from adbench_harness.types import AnomalyMap, FeatureRequest, ImageBank, ImageEmbeddings
from adbench_spade import adbench_recipes, adbench_reported
from adbench_spade.model import SPADE, to_nearest
from adbench_spade.scorers import ImageNeighbours

LAYERS = ("layer1", "layer2", "layer3")


def fitted(images, **params):
    params = {"neighbours": 3, "resize": 64, "crop": None} | params
    return SPADE(**params).fit(fitting.train(images), fitting.tools(None, 64))


def features(images):
    extract = fitting.tools(None, 64).features(FeatureRequest("any", (*LAYERS, "avgpool")))
    return {name: grid.double().numpy() for name, grid in extract(fitting.batch(images)).items()}


@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_scores_are_those_of_brute_force(neighbours):
    normal, test = fitting.textures(6, 64), fitting.textures(3, 64, 7, blob=True)
    normal = (normal * 255).round() / 255  # as a training set stores them
    model = fitted(normal, neighbours=neighbours)
    scores = ImageNeighbours(neighbours=neighbours).score(model.predict(fitting.batch(test)))

    bank, queries = features(normal), features(test)
    count = min(neighbours, 6)
    distances = cdist(queries["avgpool"], bank["avgpool"])
    nearest = distances.argsort(1)[:, :count]
    np.testing.assert_allclose(scores.image, np.sort(distances)[:, :count].mean(1), rtol=1e-5)
    for index in range(3):
        merged = 0.0
        for layer in LAYERS:
            gallery = bank[layer][nearest[index]].transpose(0, 2, 3, 1)
            query = queries[layer][index]
            depth, height, width = query.shape
            found = cdist(query.reshape(depth, -1).T, gallery.reshape(-1, depth)).min(1)
            grid = torch.tensor(found.reshape(1, height, width))
            merged = merged + upsample(grid, (64, 64))[0].numpy() / 3
        np.testing.assert_allclose(scores.map[index], gaussian_filter(merged, 4), rtol=1e-4)


def test_only_the_similar_images_are_searched():
    gallery = torch.tensor([[[0.0], [1.0]], [[5.0], [6.0]], [[9.0], [3.0]]])
    grid = torch.tensor([[[5.2], [2.0]]])
    for similar, expected in (([0], [4.2, 1.0]), ([1, 2], [0.2, 1.0]), ([2], [2.2, 1.0])):
        found = to_nearest(grid, torch.tensor(similar), gallery)
        torch.testing.assert_close(found, torch.tensor([expected]))


def test_small_distances_are_exact():
    """Products of large, nearly equal features would round their distance away."""
    draw = torch.Generator().manual_seed(0)
    gallery = 100 + torch.randn(2, 5, 8, generator=draw)
    grid = (gallery[1, 3].double() + 1e-3).float().view(1, 1, 8)
    expected = np.linalg.norm((grid - gallery[1, 3]).numpy())
    found = to_nearest(grid, torch.tensor([0, 1]), gallery)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_training_image_is_its_own_neighbour():
    images = (fitting.textures(4, 64) * 255).round() / 255
    model = fitted(images, neighbours=1)
    outputs = model.predict(fitting.batch(images))
    assert outputs[ImageEmbeddings].values.shape == (4, 96)
    assert len(outputs[ImageBank].values) == 4
    scores = ImageNeighbours(neighbours=1).score(outputs)
    assert scores.image.max() < 1e-5
    assert scores.map.max() < 1e-4


def test_an_image_scores_alone_as_in_a_batch():
    model = fitted(fitting.textures(5, 64))
    images = fitting.textures(3, 64, 4, blob=True)

    def levels(part):
        return [level.values for level in model.predict(fitting.batch(part))[AnomalyMap].levels]

    alone = [torch.cat(grids) for grids in zip(*(levels(i[None]) for i in images), strict=True)]
    for one, other in zip(alone, levels(images), strict=True):
        torch.testing.assert_close(one, other)


def test_a_grid_that_finds_the_images_is_averaged():
    images = fitting.textures(4, 64)
    model = fitted(images, image_layer="layer3")
    [request] = model.feature_requests
    assert request.layers == LAYERS
    embeddings = model.predict(fitting.batch(images))[ImageEmbeddings].values
    np.testing.assert_allclose(embeddings, features(images)["layer3"].mean((2, 3)), atol=1e-6)


# ---------------------------------------------------------------- recipes, reported


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["spade"])
    for recipe in adbench_recipes():
        checked = suite.validate({**recipe.suite, "plugins": ["spade"]}, recipe.name)
        built = []
        for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
            [[wanted]] = axis
            choice = parameters.resolve(catalogue, kind, wanted)
            built.append(parameters.build(catalogue, kind, choice))
        assert built[0].neighbours == built[1].neighbours
    assert {row.recipe for row in adbench_reported()} == {r.name for r in adbench_recipes()}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
    assert columns["SPADE", "image_auroc"] == {"mean": 0.855}
    full = 0
    for by_category in columns.values():
        mean = by_category.pop("mean")
        if by_category:
            full += 1
            assert len(by_category) == 15
            assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=6e-4)
    assert full == 3
