from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist

from adbench_bgfilter import adbench_recipes, adbench_reported, requires
from adbench_bgfilter.preprocessors import MeanFilter, MedianFilter
from adbench_bgfilter.scorers import NeighbourMean
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.planning import parameters, plugins, suite
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings

FILTERS = [MeanFilter, MedianFilter]


@pytest.fixture(scope="module")
def image():
    """A dusty light table with a dark, coloured object that touches the border."""
    rng = np.random.default_rng(0)
    picture = rng.normal(205, 20, (60, 80, 3)).clip(0, 255).astype(np.uint8)
    rows, columns = np.indices((60, 80))
    inside = (rows - 40) ** 2 + (columns - 50) ** 2 < 24**2
    picture[inside] = rng.integers((0, 60, 120), (80, 140, 255), (inside.sum(), 3))
    picture[10:12, 5:7] = 20
    return picture


def reference_mask(image, threshold=150, upper=255, kernel=5):
    mask = ((image >= threshold) & (image <= upper)).all(-1)
    square = np.ones((kernel, kernel))
    for step in ("erosion", "dilation", "dilation", "erosion"):
        border = step == "erosion"  # what lies beyond the image neither adds nor removes
        mask = getattr(ndimage, f"binary_{step}")(mask, square, border_value=border)
    return mask


def grey(image):
    return np.rint(image @ [0.299, 0.587, 0.114])


def reference_blur(name, values, size):
    if name == "mean":
        return np.rint(ndimage.uniform_filter(values.astype(float), size, mode="mirror"))
    return ndimage.median_filter(values, size, mode="nearest")


@pytest.mark.parametrize("kernel", [1, 3, 5, 9])
def test_background_is_the_opened_then_closed_bright_part(image, kernel):
    found = MeanFilter(kernel=kernel, upper=250).background(image)
    np.testing.assert_array_equal(found, reference_mask(image, upper=250, kernel=kernel))
    assert 0 < found.mean() < 1


@pytest.mark.parametrize("order", ["literal", "background-only"])
@pytest.mark.parametrize(
    ("component", "size"),
    [(MeanFilter, size) for size in (1, 5, 11, 14, 15)]
    + [(MedianFilter, size) for size in (1, 5, 13)],
)
def test_filter_is_scipys_borders_included(image, component, size, order):
    mask = reference_mask(image)
    values = grey(image)
    if order == "background-only":
        window = size // 2 * 2 + 1
        share = ndimage.uniform_filter(mask.astype(float), window, mode="mirror")
        total = ndimage.uniform_filter(values * mask, window, mode="mirror")
        local = np.divide(total, share, where=share > 1e-9, out=np.zeros_like(total))
        values = np.where(mask, values, np.rint(local))
    blurred = reference_blur(component.name, values, size)
    result = component(size=size, order=order)(image)
    assert result.dtype == np.uint8
    assert result.shape == image.shape
    np.testing.assert_array_equal(result[~mask], image[~mask])
    assert (result[mask] == result[mask][:, :1]).all()  # three equal channels
    assert np.abs(result[mask][:, 0] - blurred[mask]).max() <= 1  # grey levels are rounded


@pytest.mark.parametrize("component", FILTERS)
def test_object_does_not_leak_into_the_background(image, component):
    other = image.copy()
    other[40, 50] = other[30:50, 40:60] = (250, 0, 0)
    mask = reference_mask(image)
    np.testing.assert_array_equal(mask, reference_mask(other))
    rim = image.copy()
    rim[~mask & ndimage.binary_dilation(mask, iterations=3)] = (0, 0, 149)
    only, literal = (component(order=order) for order in ("background-only", "literal"))
    np.testing.assert_array_equal(only(image)[mask], only(rim)[mask])
    assert (literal(image)[mask] != literal(rim)[mask]).any()


@pytest.mark.parametrize("component", FILTERS)
def test_dust_is_smoothed_and_the_object_kept(component):
    coffee = skimage.data.coffee()  # a cup on a table
    result = component(threshold=60)(coffee)
    mask = component(threshold=60).background(coffee)
    assert 0.2 < mask.mean() < 0.9
    inner = ndimage.binary_erosion(mask, iterations=3)
    before, after = (ndimage.laplace(grey(picture))[inner].std() for picture in (coffee, result))
    assert after < before / 2
    np.testing.assert_array_equal(result[~mask], coffee[~mask])


@pytest.mark.parametrize("order", ["literal", "background-only"])
@pytest.mark.parametrize("component", FILTERS)
def test_nothing_but_background_and_no_background(component, order):
    rng = np.random.default_rng(1)
    light = rng.integers(160, 256, (30, 40, 3), dtype=np.uint8)
    result = component(order=order)(light)
    expected = reference_blur(component.name, grey(light), component().size)
    assert np.abs(result[..., 0] - expected).max() <= 1
    dark = light - 100
    np.testing.assert_array_equal(component(order=order)(dark), dark)


@pytest.mark.parametrize("component", FILTERS)
def test_window_larger_than_the_image(image, component):
    small = np.full((7, 9, 3), 200, np.uint8)
    np.testing.assert_array_equal(component(size=255)(small), small)


@pytest.mark.parametrize("component", FILTERS)
def test_input_is_left_alone(image, component):
    copy = image.copy()
    copy.flags.writeable = False
    component()(copy)
    np.testing.assert_array_equal(copy, image)


@pytest.mark.parametrize("size", [0, -1, 2, 14, 256, 257])
def test_median_names_its_legal_sizes(size):
    with pytest.raises(ValueError, match=rf"one of 1, 3, 5, 7 \.\.\. 255, not {size}"):
        MedianFilter(size=size)


@pytest.mark.parametrize("size", [0, -3, 256])
def test_mean_refuses_senseless_sizes(size):
    with pytest.raises(ValueError, match=f"not {size}"):
        MeanFilter(size=size)


def test_empty_colour_range_is_refused():
    with pytest.raises(ValueError, match="no pixel"):
        MeanFilter(threshold=200, upper=100)


def test_the_papers_best_sizes_are_the_defaults_and_mean_stands_alone():
    assert MeanFilter().size == 11
    assert MedianFilter().size == 5
    assert getattr(MeanFilter, "default", True)
    assert not MedianFilter.default


def outputs(bank, patches):
    return Outputs((16, 16), PatchEmbeddings((Level(patches),)), PatchBank((Neighbours(bank),)))


@pytest.fixture(scope="module")
def scene():
    draw = torch.Generator().manual_seed(2)
    return torch.randn(20, 6, generator=draw), torch.randn(3, 4, 4, 6, generator=draw)


def eq_4(bank, patches, b, power=1):
    """Mean over the b bank vectors nearest to each patch's match, [B, 4, 4]."""
    to_bank = cdist(patches.flatten(0, 2), bank) ** power
    around = cdist(bank, bank).argsort(1)[to_bank.argmin(1), :b]
    return np.take_along_axis(to_bank, around, 1).mean(1).reshape(3, 4, 4)


@pytest.mark.parametrize("b", [1, 2, 9, 30])
@pytest.mark.parametrize(("distance", "power"), [("euclidean", 1), ("squared", 2)])
def test_map_is_eq_4(scene, b, distance, power):
    scorer = NeighbourMean(neighbours=b, distance=distance, sigma=0)
    maps = scorer.score(outputs(*scene)).map
    expected = torch.from_numpy(eq_4(*scene, b, power))[:, None]
    expected = torch.nn.functional.interpolate(expected, (16, 16), mode="bilinear")[:, 0]
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_image_score_is_left_unchanged_or_the_mean(scene):
    bank, patches = scene
    nearest = cdist(patches.flatten(0, 2), bank).min(1).reshape(3, 16).max(1)
    np.testing.assert_allclose(NeighbourMean().score(outputs(*scene)).image, nearest, rtol=1e-5)
    mean = NeighbourMean(image="mean").score(outputs(*scene)).image
    np.testing.assert_allclose(mean, eq_4(*scene, 9).max((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("image", ["nearest", "hcw-00", "mean"])
def test_bank_of_one_vector(scene, image):
    bank, patches = scene
    scores = NeighbourMean(image=image).score(outputs(bank[:1], patches))
    expected = cdist(patches.flatten(0, 2), bank[:1]).reshape(3, 16).max(1)
    np.testing.assert_allclose(scores.image, expected, rtol=1e-5)


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["bgfilter"])
    recipes = {recipe.name: recipe for recipe in adbench_recipes()}
    assert {row.recipe for row in adbench_reported()} < set(recipes)
    for recipe in recipes.values():
        checked = suite.validate({**recipe.suite, "plugins": ["bgfilter"]}, recipe.name)
        assert len(checked.seeds) == 7
        for kind, axis in (
            ("model", checked.models),
            ("scorer", checked.scorers),
            ("preprocessor", checked.preprocessors),
        ):
            for chain in axis:
                for link in chain:
                    choice = parameters.resolve(catalogue, kind, link)
                    parameters.build(catalogue, kind, choice)


def test_reported_numbers():
    values = {row.recipe: row.value for row in adbench_reported() if row.metric == "image_auroc"}
    assert values == {"bgfilter-baseline": 0.976, "bgfilter": 0.9907}


def test_plugin_imports_neither_patchcore_nor_anything_heavy():
    assert requires == ("patchcore",)
    code = """
import sys, adbench_bgfilter
assert not {"torch", "cv2", "adbench_patchcore"} & set(sys.modules), "importing the plugin"
adbench_bgfilter.adbench_preprocessors(), adbench_bgfilter.adbench_scorers()
assert "adbench_patchcore" not in sys.modules, "its components"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
