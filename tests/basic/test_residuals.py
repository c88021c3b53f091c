from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from skimage.metrics import structural_similarity

from adbench_harness.basic.residuals import MSGMSResidual, SquaredResidual, SSIMResidual
from adbench_harness.errors import UserError
from adbench_harness.nn.gms import gms, msgms_map
from adbench_harness.planning import grammar, parameters, plugins
from adbench_harness.types import Outputs, Reconstruction

SCORERS = [SquaredResidual, SSIMResidual, MSGMSResidual]


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 32, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def made(images):
    changed = images.clone()
    changed[1, :, 4:10, 20:30] = 0.5
    return changed


def scores(scorer, images, *made):
    return scorer.score(Outputs((32, 40), Reconstruction(images, made)))


def test_squared_difference_of_the_pixels(images, made):
    found = scores(SquaredResidual(), images, made)
    expected = ((images - made).numpy() ** 2).mean(1)
    np.testing.assert_allclose(found.map, expected, rtol=1e-6)
    np.testing.assert_allclose(found.image, expected.max((1, 2)), rtol=1e-6)


def test_ssim_is_that_of_scikit_image(images, made):
    found = scores(SSIMResidual(), images, made).map
    for values, one, other in zip(found, images.numpy(), made.numpy(), strict=True):
        _, similarity = structural_similarity(
            one.astype(float), other.astype(float), channel_axis=0, data_range=1, full=True,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        np.testing.assert_allclose(values, 1 - similarity.mean(0), atol=1e-4)


def test_msgms_is_smoothed_by_a_mean_filter(images, made):
    plain = scores(MSGMSResidual(smoothing=1), images, made).map
    torch.testing.assert_close(plain, 1 - msgms_map(images, made, 4))
    one = scores(MSGMSResidual(scales=1, smoothing=1), images, made).map
    torch.testing.assert_close(one, 1 - gms(images, made))
    inside = uniform_filter(np.ones((32, 40)), 21, mode="constant")
    smooth = scores(MSGMSResidual(), images, made).map
    expected = uniform_filter(plain[1].double().numpy(), 21, mode="constant") / inside
    np.testing.assert_allclose(smooth[1], expected, rtol=1e-4)


@pytest.mark.parametrize("scorer", SCORERS)
def test_an_equal_image_scores_nothing_and_a_changed_one_where_it_changed(scorer, images, made):
    found = scores(scorer(smoothing=1), images, made)
    assert found.image[[0, 2]].max() < 1e-5
    row, column = divmod(int(found.map[1].argmax()), 40)
    assert 3 <= row <= 10
    assert 19 <= column <= 30


@pytest.mark.parametrize("scorer", SCORERS)
def test_several_reconstructions_are_averaged_at_input_size(scorer, images, made):
    small = torch.nn.functional.interpolate(made, (16, 20), mode="bilinear")
    large = torch.nn.functional.interpolate(small, (32, 40), mode="bilinear")
    both = scores(scorer(), images, made, small).map
    alone = [scores(scorer(), images, each).map for each in (made, large)]
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)


def test_an_even_filter_is_refused_before_the_run():
    catalogue = plugins.load([])
    with pytest.raises(UserError, match="odd"):
        parameters.resolve(catalogue, "scorer", grammar.component("residual-l2:smoothing=4"))
