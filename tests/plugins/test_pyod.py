"""Needs the extra ``pyod``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("pyod", reason="the extra 'pyod' is not installed")

from pyod.models.ecod import ECOD
from pyod.models.knn import KNN

from adbench_harness.cli import main
from adbench_harness.results.store import Store
from adbench_harness.testing import parametrize_with_checks
from adbench_harness.testing.fitting import Walked
from adbench_harness.types import ImageEmbeddings, Level, Outputs, PatchEmbeddings
from adbench_pyod.scorers import SCORERS, _Subset

BY_NAME = {scorer.name: scorer for scorer in SCORERS}
pytestmark = pytest.mark.filterwarnings("ignore:n_neighbors")


@parametrize_with_checks(SCORERS)
def test_conformance(component, check):
    check(component)


def grids(count, seed, side=6, depth=4):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, side, side, depth, generator=draw)


def patches(values, valid=None):
    side = values.shape[1]
    return Outputs((side, side), PatchEmbeddings((Level(values, valid=valid),)))


def test_the_map_is_pyods_raw_score_of_every_patch():
    train, test = grids(5, 0), grids(3, 1)
    scorer = BY_NAME["pyod-knn"](sigma=0)
    scorer.fit(Walked([patches(train[:2]), patches(train[2:])]), torch.Generator())
    detector = KNN().fit(train.reshape(-1, 4).numpy())
    expected = detector.decision_function(test.reshape(-1, 4).numpy()).reshape(3, 6, 6)
    scores = scorer.score(patches(test))
    np.testing.assert_allclose(scores.map.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(scores.image.numpy(), expected.max((1, 2)), rtol=1e-5)


def test_ecod_ranks_an_image_among_the_training_patches_and_no_other_image():
    """PyOD's ECOD and COPOD score what they are given together: a batch would change a score."""
    train, test = grids(5, 0), grids(3, 1)
    scorer = BY_NAME["pyod-ecod"](sigma=0)
    scorer.fit(Walked([patches(train)]), torch.Generator())
    detector = ECOD().fit(train.reshape(-1, 4).numpy())
    each = [detector.decision_function(image.reshape(-1, 4).numpy()) for image in test]
    together = detector.decision_function(test.reshape(-1, 4).numpy()).reshape(3, 6, 6)
    found = scorer.score(patches(test)).map.numpy()
    np.testing.assert_allclose(found, np.reshape(each, (3, 6, 6)), rtol=1e-5)
    assert np.abs(found - together).max() > 1e-3


def test_cells_that_mean_nothing_are_not_fitted_on():
    train, valid = grids(4, 0), torch.ones(6, 6, dtype=torch.bool)
    valid[:, 0] = False
    spoilt = train.clone()
    spoilt[:, :, 0] = 1e6
    scorers = [BY_NAME["pyod-hbos"](sigma=0) for _ in range(2)]
    for scorer, values in zip(scorers, (train, spoilt), strict=True):
        scorer.fit(Walked([patches(values, valid)]), torch.Generator())
    test = patches(grids(2, 1))
    first, second = (scorer.score(test).map for scorer in scorers)
    assert torch.equal(first, second)


def test_image_embeddings_give_image_scores_only():
    train, test = torch.randn(30, 4), torch.tensor([[0.0, 0, 0, 0], [9.0, 9, 9, 9]])
    scorer = BY_NAME["pyod-knn-image"]()
    scorer.fit(Walked([Outputs((8, 8), ImageEmbeddings(train))]), torch.Generator())
    scores = scorer.score(Outputs((8, 8), ImageEmbeddings(test)))
    assert scores.map is None
    assert scores.image[1] > scores.image[0]


@pytest.mark.parametrize("parts", [1, 3, 25])
def test_a_subset_is_bounded_and_even(parts):
    vectors = torch.arange(1000.0)[:, None].expand(-1, 2)
    subset = _Subset(200)
    for part in vectors.chunk(parts):
        subset.add(part)
    kept = subset.vectors()
    assert kept.shape == (200, 2)
    assert len(np.unique(kept[:, 0])) == 200
    # The mean of 200 of 0 .. 999 deviates by 18 on average: 4 of these.
    assert abs(kept[:, 0].mean() - 499.5) < 73


def test_few_vectors_are_all_kept():
    subset = _Subset(200)
    subset.add(torch.randn(7, 2))
    assert len(subset.vectors()) == 7


def test_detectors_are_an_axis_beside_a_methods_own_scorers(tmp_path):
    code = main(
        [
            *("run", "--plugins", "patchcore,pyod", "--datasets", "mini/brick", "--device", "cpu"),
            *("--models", "patchcore:resize=64:crop=none", "--backbone", "embedded"),
            *("--scorers", "nn,pyod-hbos:samples=300,pyod-iforest:samples=300"),
            *("--out", str(tmp_path)),
        ]
    )
    assert code == 0
    names = {result.trial.scorer.name for result in Store(tmp_path).read()}
    assert names == {"nn", "pyod-hbos", "pyod-iforest"}
