from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis

from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running import cost
from adbench_harness.running.learned import take
from adbench_harness.types import Batch, Level, Outputs, PatchEmbeddings, PatchGaussian
from adbench_padim import adbench_recipes, adbench_reported
from adbench_padim.model import PaDiM, precision
from adbench_padim.scorers import Mahalanobis

STRIDES = {"layer1": (4, 4), "layer2": (5, 8), "layer3": (6, 16)}  # channels, px a cell


def network(request):
    """Random, fixed convolutions of 3-channel images, 15 channels in all."""
    draw = torch.Generator().manual_seed(1)
    filters = {
        name: torch.randn(channels, 3, side, side, generator=draw)
        for name, (channels, side) in STRIDES.items()
    }

    def features(batch):
        return {
            name: torch.nn.functional.conv2d(batch.images, filters[name], stride=STRIDES[name][1])
            for name in reversed(request.layers)
        }

    return features


class Images:
    def __init__(self, images, size=3):
        self.images, self.size = images, size

    def __len__(self):
        return len(self.images)

    def batches(self, size=None, generator=None):
        for part in self.images.split(size or self.size):
            yield batch_of(part)


def batch_of(images):
    return Batch(images, torch.zeros(len(images), dtype=torch.int64))


def fitted(images, seed=0, size=3, **params):
    tools = SimpleNamespace(
        generator=torch.Generator().manual_seed(seed), features=network, progress=lambda *_: None
    )
    return PaDiM(**params).fit(Images(images, size), tools)


@pytest.fixture(scope="module")
def images():
    return torch.rand(20, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def stacked(images, layers=("layer1", "layer2", "layer3")):
    """All channels on the finest grid [N, 12, 12, 15], coarse cells duplicated."""
    grids = network(SimpleNamespace(layers=layers))(batch_of(images))
    parts = []
    for name in layers:
        grid = grids[name].permute(0, 2, 3, 1).numpy()
        times = 12 // grid.shape[1]
        parts.append(grid.repeat(times, axis=1).repeat(times, axis=2))
    return np.concatenate(parts, -1)


def chosen(model):
    """Places of the chosen channels among all of them."""
    starts = np.cumsum([0, *(channels for channels, _ in STRIDES.values())])
    return np.concatenate(
        [start + part.numpy() for start, part in zip(starts, model.channels, strict=False)]
    )


def embedded(model, images):
    return model.predict(batch_of(images))[PatchEmbeddings].levels[0].values


@pytest.mark.parametrize("count", [20, 15, 9, 2])  # more, as many and fewer images than dimensions
def test_gaussians_are_numpys(images, count):
    model = fitted(images[:count])
    patches = stacked(images[:count]).astype(np.float64)
    np.testing.assert_allclose(model.mean, patches.mean(0), atol=1e-5)
    for row, column in ((0, 0), (3, 7), (11, 11)):
        covariance = np.cov(patches[:, row, column], rowvar=False) + 0.01 * np.eye(15)
        expected = np.linalg.inv(covariance)
        found = model.precision[row, column]
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_both_ways_to_invert_agree():
    draw = torch.Generator().manual_seed(3)
    few = torch.randn(4, 6, 8, dtype=torch.float64, generator=draw)
    few -= few.mean(1, keepdim=True)
    # The same covariance from more vectors than dimensions: zeros add nothing but their number.
    many = torch.cat([few, torch.zeros(4, 6, 8, dtype=torch.float64)], 1) * (11 / 5) ** 0.5
    torch.testing.assert_close(precision(few, 0.01), precision(many, 0.01), rtol=1e-9, atol=1e-9)


def test_one_training_image_has_no_covariance(images):
    model = fitted(images[:1], epsilon=0.5)
    torch.testing.assert_close(model.precision[4, 4], 2 * torch.eye(15))
    patches = stacked(images[:2])
    scores = Mahalanobis(sigma=0).score(model.predict(batch_of(images[1:2])))
    distance = np.sqrt(2) * np.linalg.norm(patches[1] - patches[0], axis=-1)
    assert scores.image.item() == pytest.approx(distance.max(), rel=0.1)


@pytest.mark.parametrize("layers", [("layer1", "layer2", "layer3"), ("layer3", "layer1")])
def test_layers_are_duplicated_onto_the_finest(images, layers):
    model = fitted(images, layers=layers)
    np.testing.assert_array_equal(embedded(model, images), stacked(images, layers))


def test_grids_that_do_not_divide():
    sizes = {"layer1": 7, "layer2": 3}

    def features(request):
        return lambda batch: {
            name: torch.arange(sizes[name] ** 2.0).view(1, 1, sizes[name], -1).repeat(2, 1, 1, 1)
            for name in request.layers
        }

    tools = SimpleNamespace(
        generator=torch.Generator(), features=features, progress=lambda *_: None
    )
    images = torch.zeros(2, 3, 8, 8)
    model = PaDiM(layers=("layer1", "layer2")).fit(Images(images), tools)
    rows = np.arange(7) * 3 // 7
    expected = (rows[:, None] * 3 + rows[None]).astype(np.float32)
    np.testing.assert_array_equal(embedded(model, images)[1, ..., 1], expected)
    torch.testing.assert_close(model.mean, embedded(model, images)[0])


def test_dimensions_are_a_random_subset_of_the_channels(images):
    models = [fitted(images, seed=seed, dimensions=7) for seed in range(30)]
    places = np.array([chosen(model) for model in models])
    assert places.shape == (30, 7)
    assert all(len(set(row)) == 7 for row in places)
    assert set(places.flatten()) == set(range(15))
    for row, model in zip(places[:3], models, strict=False):
        np.testing.assert_array_equal(embedded(model, images), stacked(images)[..., row])
    again = fitted(images, seed=3, dimensions=7)
    np.testing.assert_array_equal(chosen(again), places[3])


@pytest.mark.parametrize(
    ("width", "dimensions"),
    [(1792, 550), (1100, 550), (1099, 100), (448, 100), (369, 100), (176, 100), (60, 60)],
)
def test_default_dimensions_are_the_papers(width, dimensions):
    def features(request):
        return lambda batch: {"layer1": batch.images.mean(1, keepdim=True).repeat(1, width, 1, 1)}

    given = SimpleNamespace(
        generator=torch.Generator(), features=features, progress=lambda *_: None
    )
    model = PaDiM(layers=("layer1",)).fit(Images(torch.rand(2, 3, 1, 1)), given)
    assert model.chosen() == {"dimensions": dimensions}
    assert model.mean.shape == (1, 1, dimensions)


def test_dimensions_are_at_most_what_is_there(images):
    model = fitted(images, dimensions=550)
    np.testing.assert_array_equal(chosen(model), np.arange(15))
    del model.extract  # a function here; the harness serves an object that it can store
    assert take(model, PaDiM(dimensions=550)).numbers == 15 + 12 * 12 * (15 + 15 * 15)


def test_the_batches_of_training_change_nothing(images):
    one, all_ = fitted(images, size=1), fitted(images, size=20)
    torch.testing.assert_close(one.mean, all_.mean)
    torch.testing.assert_close(one.precision, all_.precision)


def test_refit_forgets(images):
    model = fitted(images[:8], seed=1, dimensions=5)
    tools = SimpleNamespace(
        generator=torch.Generator().manual_seed(0), features=network, progress=lambda *_: None
    )
    model.fit(Images(images[8:]), tools)
    assert torch.equal(model.precision, fitted(images[8:], dimensions=5).precision)


def test_progress_ends_where_it_should(images):
    seen = []
    tools = SimpleNamespace(
        generator=torch.Generator(), features=network, progress=lambda *done: seen.append(done)
    )
    PaDiM().fit(Images(images), tools)
    assert seen[-1] == (12, 12)


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("sigma", [0, 4])
def test_scores_are_scipys_mahalanobis_distances(images, sigma):
    model = fitted(images[:9])
    patches, normal = stacked(images[9:12]), stacked(images[:9]).astype(np.float64)
    distances = np.zeros((3, 12, 12))
    for place in np.ndindex(12, 12):
        inverse = np.linalg.inv(np.cov(normal[:, *place], rowvar=False) + 0.01 * np.eye(15))
        for i in range(3):
            distances[i, *place] = mahalanobis(
                patches[i, *place], normal[:, *place].mean(0), inverse
            )
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(distances)[:, None], (48, 48), mode="bilinear"
    )[:, 0].numpy()
    expected = np.array([gaussian_filter(one, sigma) if sigma else one for one in enlarged])
    scores = Mahalanobis(sigma=sigma).score(model.predict(batch_of(images[9:12])))
    np.testing.assert_allclose(scores.map, expected, rtol=1e-3)
    np.testing.assert_allclose(scores.image, expected.max((1, 2)), rtol=1e-3)


def test_a_patch_at_the_mean_scores_zero(images):
    model = fitted(images)
    gaussian = PatchGaussian(((model.mean, model.precision),))
    outputs = Outputs((48, 48), PatchEmbeddings((Level(model.mean[None]),)), gaussian)
    assert torch.equal(Mahalanobis().score(outputs).image, torch.zeros(1))


def test_gaussian_shared_by_all_positions():
    draw = torch.Generator().manual_seed(2)
    patches, root = torch.randn(2, 3, 4, 5, generator=draw), torch.randn(5, 5, generator=draw)
    mean, precision = torch.randn(5, generator=draw), root @ root.T
    each = PatchGaussian(((mean.expand(3, 4, 5), precision.expand(3, 4, 5, 5)),))
    shared = PatchGaussian(((mean, precision),))
    one, other = (
        Mahalanobis().score(Outputs((12, 16), PatchEmbeddings((Level(patches),)), gaussian))
        for gaussian in (each, shared)
    )
    torch.testing.assert_close(one.map, other.map)


def test_levels_are_averaged(images):
    fine, coarse = fitted(images[:9]), fitted(images[:9], layers=("layer2",))
    outputs = [model.predict(batch_of(images[9:])) for model in (fine, coarse)]
    both = Outputs(
        (48, 48),
        PatchEmbeddings(tuple(o[PatchEmbeddings].levels[0] for o in outputs)),
        PatchGaussian(tuple(o[PatchGaussian].levels[0] for o in outputs)),
    )
    maps = [Mahalanobis().score(o).map for o in outputs]
    torch.testing.assert_close(Mahalanobis().score(both).map, (maps[0] + maps[1]) / 2)


def test_distances_count_as_flops(images):
    outputs = fitted(images).predict(batch_of(images[:1]))
    assert cost.flops(lambda: Mahalanobis(sigma=0).score(outputs)) == 12 * 12 * 2 * 15 * 15


# ---------------------------------------------------------------- recipes and reported numbers


def test_recipes_are_valid_suites_and_have_reported_numbers():
    catalogue = plugins.load(["padim"])
    recipes = {recipe.name: recipe for recipe in adbench_recipes()}
    assert {row.recipe for row in adbench_reported() if row.recipe} == set(recipes)
    for recipe in recipes.values():
        checked = suite.validate({**recipe.suite, "plugins": ["padim"]}, recipe.name)
        [[model]] = checked.models
        parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", model))


def test_reported_mean_is_that_of_the_categories():
    rows = [r for r in adbench_reported() if r.method == "PaDiM WRN50-Rd550"]
    values = {r.category: r.value for r in rows if r.metric == "pixel_auroc"}
    mean = values.pop("mean")
    assert len(values) == 15
    assert np.mean(list(values.values())) == pytest.approx(mean, abs=0.001)
