from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from sklearn.covariance import ledoit_wolf

from adbench_harness.nn.gaussian import mahalanobis, shrunk_covariance


def drawn(count, depth):
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, depth)) @ rng.normal(size=(depth, depth)) + rng.normal(
        size=depth
    )


@pytest.mark.parametrize(("count", "depth"), [(5, 20), (40, 20), (1000, 3)])
def test_shrunk_covariance_is_scikit_learns(count, depth):
    vectors = drawn(count, depth)
    found = shrunk_covariance(torch.tensor(vectors))
    np.testing.assert_allclose(found, ledoit_wolf(vectors)[0], rtol=1e-9)
    assert torch.linalg.eigvalsh(found).min() > 0


@pytest.mark.parametrize("count", [1, 4])
def test_equal_vectors_have_no_covariance(count):
    assert not shrunk_covariance(torch.ones(count, 3, dtype=torch.float64)).any()


def test_mahalanobis_is_scipys():
    vectors = drawn(50, 4)
    mean, precision = vectors.mean(0), np.linalg.inv(np.cov(vectors.T))
    found = mahalanobis(*map(torch.tensor, (vectors, mean, precision)))
    expected = [distance.mahalanobis(vector, mean, precision) for vector in vectors]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
