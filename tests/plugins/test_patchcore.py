from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.special import softmax

from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.running.learned import take
from adbench_harness.types import Batch, Level, Outputs, PatchBank, PatchEmbeddings
from adbench_patchcore import adbench_recipes, adbench_reported
from adbench_patchcore.model import PatchCore
from adbench_patchcore.scorers import NearestNeighbour, ReweightedNearestNeighbour

NETWORKS = {backbone.name: backbone for backbone in BACKBONES}


def adaptive_average(values, count):
    """[..., n] -> [..., count]: bin i averages floor(i n / count) to ceil((i + 1) n / count)."""
    n = values.shape[-1]
    bins = [values[..., i * n // count : -(-(i + 1) * n // count)] for i in range(count)]
    return np.stack([bin_.mean(-1) for bin_ in bins], -1)


def bilinear(grid, height, width):
    """[h, w, ...] -> [height, width, ...], pixel centres aligned, clamped at the border."""

    def weights(size, target):
        matrix = np.zeros((target, size))
        for i in range(target):
            place = min(max((i + 0.5) * size / target - 0.5, 0), size - 1)
            low = int(place)
            matrix[i, low] += 1 - (place - low)
            matrix[i, min(low + 1, size - 1)] += place - low
        return matrix

    rows, columns = weights(grid.shape[0], height), weights(grid.shape[1], width)
    return np.einsum("yh,xw,hw...->yx...", rows, columns, grid)


def patches_of(grid, side):
    """[C, h, w] -> [h, w, C, side, side], zeros beyond the border."""
    reach = side // 2
    padded = np.pad(grid, ((0, 0), (reach, reach), (reach, reach)))
    _, h, w = grid.shape
    return np.array([[padded[:, y : y + side, x : x + side] for x in range(w)] for y in range(h)])


def pooled_reference(grids, side, dimension):
    """The authors' order: patches, resized to the finest grid, pooled, stacked, pooled again."""
    height, width = grids[0].shape[1:]
    layers = []
    for grid in grids:
        patches = bilinear(patches_of(grid, side), height, width)
        layers.append(adaptive_average(patches.reshape(height, width, -1), dimension))
    return adaptive_average(np.concatenate(layers, -1), dimension)


class Images:
    def __init__(self, images, size=2):
        self.images, self.size = images, size

    def __len__(self):
        return len(self.images)

    def batches(self, size=None, generator=None):
        for part in self.images.split(size or self.size):
            yield Batch(part, torch.zeros(len(part), dtype=torch.int64))


def network(request):
    """Random, fixed 3-channel-in convolutions: layer2 at a quarter, layer3 at an eighth."""
    draw = torch.Generator().manual_seed(1)
    filters = {
        "layer2": torch.randn(5, 3, 4, 4, generator=draw),
        "layer3": torch.randn(6, 3, 8, 8, generator=draw),
    }

    def features(batch):
        return {
            layer: torch.nn.functional.conv2d(batch.images, filters[layer], stride=stride)
            for layer, stride in (("layer3", 8), ("layer2", 4))
            if layer in request.layers
        }

    return features


def tools(seed=0):
    return SimpleNamespace(
        generator=torch.Generator().manual_seed(seed), features=network, progress=lambda *_: None
    )


def fitted(images, seed=0, batch=2, **params):
    return PatchCore(**{"dimension": 8, "embedding": "pooled", **params}).fit(
        Images(images, batch), tools(seed)
    )


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def embedded(model, images):
    batch = Batch(images, torch.zeros(len(images), dtype=torch.int64))
    return model.predict(batch)[PatchEmbeddings].levels[0].values


@pytest.mark.parametrize("dimension", [4, 7, 50, 80])  # 45 and 54 values a patch
@pytest.mark.parametrize("side", [1, 3, 5])
def test_pooled_embedding_is_the_authors(images, side, dimension):
    model = fitted(images, neighbourhood=side, dimension=dimension)
    grids = network(model.feature_requests[0])(Batch(images[:1], torch.zeros(1)))
    expected = pooled_reference(
        [grids[name][0].numpy() for name in ("layer2", "layer3")], side, dimension
    )
    assert expected.shape == (8, 8, dimension)
    np.testing.assert_allclose(embedded(model, images)[0], expected, atol=1e-5)


@pytest.mark.parametrize("embedding", ["means", "concatenated"])
def test_local_means_are_resized_or_duplicated(images, embedding):
    model = fitted(images, embedding=embedding)
    grids = network(model.feature_requests[0])(Batch(images[:1], torch.zeros(1)))
    fine, coarse = (
        patches_of(grids[name][0].numpy(), 3).mean((-2, -1)) for name in ("layer2", "layer3")
    )
    coarse = (
        bilinear(coarse, 8, 8)
        if embedding == "means"
        else coarse.repeat(2, axis=0).repeat(2, axis=1)
    )
    expected = np.concatenate([fine, coarse], -1)
    np.testing.assert_allclose(embedded(model, images)[0], expected, atol=1e-5)
    assert model.chosen() == {"embedding": embedding, "dimension": 11}


@pytest.mark.parametrize(
    ("params", "chosen", "width"),
    [
        # layer2 has 5 channels, so 45 values in each patch of 3 x 3, and layer3 has 6.
        ({"dimension": 11}, "pooled", 11),
        ({"dimension": 12}, "means", 11),
        ({"dimension": 12, "layers": ("layer3",)}, "pooled", 12),
        ({"dimension": 11, "neighbourhood": 1}, "means", 11),
        ({"dimension": 1024, "embedding": "pooled"}, "pooled", 1024),
    ],
)
def test_the_embedding_follows_the_width_of_the_backbone(images, params, chosen, width):
    model = fitted(images, **{"embedding": "auto", **params})
    assert model.chosen() == {"embedding": chosen, "dimension": width}
    same = fitted(images, **{**params, "embedding": chosen})
    assert torch.equal(embedded(model, images), embedded(same, images))
    assert embedded(model, images).shape[-1] == width


@pytest.mark.parametrize(
    ("backbone", "chosen"),
    [
        ("wide_resnet50_2", {"embedding": "pooled", "dimension": 1024}),
        ("resnet18", {"embedding": "means", "dimension": 384}),
        ("efficientnet_lite0", {"embedding": "means", "dimension": 152}),
        ("embedded", {"embedding": "means", "dimension": 290}),
    ],
)
def test_backbones_and_their_embeddings(images, backbone, chosen):
    network = NETWORKS[backbone]().network(("layer2", "layer3")).eval()
    model = PatchCore(coreset_ratio=1.0)
    given = tools()
    given.features = lambda request: lambda batch: network(batch.images)
    with torch.no_grad():
        model.fit(Images(images[:1]), given)
    assert model.chosen() == chosen


def test_finest_layer_sets_the_grid_wherever_it_stands(images):
    model = fitted(images, layers=("layer3", "layer2"))
    assert embedded(model, images).shape == (5, 8, 8, 8)


@pytest.mark.parametrize(("ratio", "kept"), [(0.01, 3), (0.5, 160), (1.0, 320), (0.001, 1)])
def test_bank_is_a_part_of_the_training_patches(images, ratio, kept):
    model = fitted(images, coreset_ratio=ratio)
    patches = embedded(model, images).flatten(0, 2)
    nearest = cdist(model.bank.bank, patches)
    assert nearest.shape == (kept, 320)
    assert nearest.min(1).max() < 1e-6
    assert len(set(nearest.argmin(1))) == kept


def test_bank_keeps_all_patches_in_order(images):
    model = fitted(images, coreset_ratio=1.0)
    torch.testing.assert_close(model.bank.bank, embedded(model, images).flatten(0, 2))


def test_coreset_covers_better_than_a_random_part(images):
    model = fitted(images, coreset_ratio=0.1, projection=None)
    patches = embedded(model, images).flatten(0, 2).numpy()
    rng = np.random.default_rng(0)
    random = [cdist(patches, patches[rng.choice(320, 32, False)]).min(1).max() for _ in range(20)]
    assert cdist(patches, model.bank.bank).min(1).max() < min(random)


def test_bank_does_not_depend_on_the_batch_size(images):
    one, five = (fitted(images, batch=size, coreset_ratio=0.1) for size in (1, 5))
    torch.testing.assert_close(one.bank.bank, five.bank.bank)


def test_fit_draws_from_the_seed_alone(images):
    first, second, other = (fitted(images, seed=seed, coreset_ratio=0.1) for seed in (3, 3, 4))
    assert torch.equal(first.bank.bank, second.bank.bank)
    assert not torch.equal(first.bank.bank, other.bank.bank)


def test_refit_forgets(images):
    model = fitted(images[:4], coreset_ratio=0.1)
    model.fit(Images(images[4:]), tools())
    assert torch.equal(model.bank.bank, fitted(images[4:], coreset_ratio=0.1).bank.bank)


def test_one_training_image_is_enough(images):
    model = fitted(images[:1])
    scores = ReweightedNearestNeighbour().score(model.predict(Batch(images, torch.zeros(5))))
    assert torch.isfinite(scores.image).all()
    del model.extract  # a function here; the harness serves an object that it can store
    assert take(model, PatchCore()).numbers == model.bank.bank.numel() == 8
    assert scores.image.std() > 0


def test_even_neighbourhood_is_refused():
    with pytest.raises(ValueError, match="odd"):
        PatchCore(neighbourhood=2)


def outputs(bank, patches, size=(16, 16), valid=None):
    return Outputs(
        size, PatchEmbeddings((Level(patches, valid=valid),)), PatchBank((Neighbours(bank),))
    )


@pytest.fixture(scope="module")
def scene():
    draw = torch.Generator().manual_seed(2)
    return torch.randn(20, 6, generator=draw), torch.randn(3, 4, 4, 6, generator=draw)


@pytest.mark.parametrize("distance", ["euclidean", "squared"])
def test_nearest_neighbour(scene, distance):
    bank, patches = scene
    expected = cdist(patches.flatten(0, 2), bank).min(1).reshape(3, 4, 4)
    if distance == "squared":
        expected = expected**2
    scores = NearestNeighbour(distance=distance, sigma=2).score(outputs(bank, patches))
    maps = [gaussian_filter(bilinear(grid, 16, 16), 2) for grid in expected]
    np.testing.assert_allclose(scores.map, maps, rtol=1e-4)
    np.testing.assert_allclose(scores.image, expected.max((1, 2)), rtol=1e-5)


def test_image_score_from_the_map(scene):
    scores = NearestNeighbour(image="map").score(outputs(*scene))
    torch.testing.assert_close(scores.image, scores.map.amax((1, 2)))
    assert (scores.image < NearestNeighbour().score(outputs(*scene)).image).all()


def test_invalid_patches_score_nothing(scene):
    bank, patches = scene
    patches = patches.clone()
    patches[:, 0, 0] = 1000
    valid = torch.ones(4, 4, dtype=torch.bool)
    valid[0, 0] = False
    scores = NearestNeighbour().score(outputs(bank, patches, valid=valid))
    assert scores.image.max() < 20
    assert scores.map.max() < 20


def test_levels_are_averaged(scene):
    bank, patches = scene
    single = NearestNeighbour().score(outputs(bank, patches))
    coarse = NearestNeighbour().score(outputs(bank * 2, patches[:, ::2, ::2]))
    both = NearestNeighbour().score(
        Outputs(
            (16, 16),
            PatchEmbeddings((Level(patches), Level(patches[:, ::2, ::2]))),
            PatchBank((Neighbours(bank), Neighbours(bank * 2))),
        )
    )
    torch.testing.assert_close(both.image, (single.image + coarse.image) / 2)
    torch.testing.assert_close(both.map, (single.map + coarse.map) / 2)


def eq_7(bank, patches, b, squared=False):
    """The paper's equations 6 and 7, as printed."""
    power = 2 if squared else 1
    result = []
    for image in patches.double().numpy().reshape(len(patches), -1, patches.shape[-1]):
        to_bank = cdist(image, bank) ** power
        worst = to_bank.min(1).argmax()
        match = to_bank[worst].argmin()
        s = to_bank[worst, match]
        around = cdist(bank[match : match + 1], bank)[0].argsort()[:b]
        result.append((1 - np.exp(s) / np.exp(to_bank[worst, around]).sum()) * s)
    return np.array(result)


@pytest.mark.parametrize("b", [2, 9, 20, 30])
@pytest.mark.parametrize("distance", ["euclidean", "squared"])
def test_reweighting_is_eq_7(scene, b, distance):
    scores = ReweightedNearestNeighbour(neighbours=b, distance=distance).score(outputs(*scene))
    expected = eq_7(*scene, b, distance == "squared")
    np.testing.assert_allclose(scores.image, expected, rtol=1e-5)
    factor = scores.image / NearestNeighbour(distance=distance).score(outputs(*scene)).image
    assert ((factor >= 1 - 1 / b) & (factor <= 1)).all()


def test_hcw_00_weighting(scene):
    bank, patches = scene
    expected = []
    for image in patches:
        to_bank = np.sort(cdist(image.flatten(0, 1), bank) ** 2)
        nine = to_bank[to_bank[:, 0].argmax(), :9]
        expected.append((1 - softmax(nine).max()) * nine[0])
    scorer = ReweightedNearestNeighbour(weighting="hcw-00", distance="squared")
    np.testing.assert_allclose(scorer.score(outputs(bank, patches)).image, expected, rtol=1e-4)


@pytest.mark.parametrize("weighting", ["paper", "hcw-00"])
def test_weights_of_far_patches_do_not_overflow(scene, weighting):
    bank, patches = scene
    scorer = ReweightedNearestNeighbour(weighting=weighting)
    images = [scorer.score(outputs(bank, patches + shift)).image for shift in (100, 200, 400)]
    assert all(torch.isfinite(image).all() for image in images)
    assert all((near < far).all() for near, far in pairwise(images))


def test_isolated_match_weighs_more():
    query = torch.zeros(1, 1, 1, 2)
    crowd = torch.tensor([[1.0, 0], [1.0, 0.1], [1.0, -0.1]])
    alone = torch.tensor([[1.0, 0], [1.0, 3], [1.0, -3]])
    crowded, isolated = (
        ReweightedNearestNeighbour().score(outputs(bank, query)).image for bank in (crowd, alone)
    )
    assert isolated > crowded


@pytest.mark.parametrize("weighting", ["paper", "hcw-00"])
def test_bank_of_one_vector_is_not_weighted(scene, weighting):
    bank, patches = scene
    weighted = ReweightedNearestNeighbour(weighting=weighting).score(outputs(bank[:1], patches))
    plain = NearestNeighbour().score(outputs(bank[:1], patches))
    torch.testing.assert_close(weighted.image, plain.image)
    torch.testing.assert_close(weighted.map, plain.map)


def test_reported_means_are_those_of_the_categories():
    cells = defaultdict(dict)
    for row in adbench_reported():
        assert 0.8 < row.value <= 1
        assert (row.marks == ("transductive",)) == (row.recipe == "patchcore-ensemble-test")
        cells[row.method, row.metric][row.category] = row.value
    assert len(cells) == 14
    assert sum(len(by_category) == 16 for by_category in cells.values()) == 7
    for by_category in cells.values():
        mean = by_category.pop("mean")
        if by_category:
            assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=0.001)


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["patchcore"])
    recipes = {recipe.name: recipe for recipe in adbench_recipes()}
    assert {row.recipe for row in adbench_reported()} == {*recipes} - {"patchcore-ensemble"}
    for recipe in recipes.values():
        checked = suite.validate({**recipe.suite, "plugins": ["patchcore"]}, recipe.name)
        [[model]] = checked.models
        resolved = parameters.resolve(catalogue, "model", model)
        if resolved.name == "patchcore":
            assert f"patchcore-{resolved.params['coreset_ratio']:.0%}" == recipe.name
        [[scorer]] = checked.scorers
        built = parameters.build(
            catalogue, "scorer", parameters.resolve(catalogue, "scorer", scorer)
        )
        assert built.transductive == recipe.name.endswith("-test")
