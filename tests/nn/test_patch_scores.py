from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.nn.patch_scores import MatchedPatches, hcw_00_weighted, score_patches
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings


@pytest.fixture(scope="module")
def scene():
    draw = torch.Generator().manual_seed(2)
    return torch.randn(20, 6, generator=draw), torch.randn(3, 4, 5, 6, generator=draw)


@pytest.mark.parametrize(("distance", "power"), [("euclidean", 1), ("squared", 2)])
def test_distances_to_the_match_and_around_it(scene, distance, power):
    bank, embeddings = scene
    to_bank = cdist(embeddings.flatten(0, 2), bank) ** power
    patches = MatchedPatches(Level(embeddings), Neighbours(bank), distance)
    np.testing.assert_array_equal(patches.matches, to_bank.argmin(1))
    np.testing.assert_allclose(patches.distances, to_bank.min(1), rtol=1e-5)
    around = cdist(bank, bank).argsort(1)[to_bank.argmin(1), :4]
    expected = np.take_along_axis(to_bank, around, 1)
    np.testing.assert_allclose(patches.around_match(4), expected, rtol=1e-5)
    some = torch.tensor([7, 59])
    np.testing.assert_allclose(patches.around_match(4, some), expected[some], rtol=1e-5)
    nearest = np.sort(to_bank)[some, :4]
    np.testing.assert_allclose(patches.around_patch(4, some), nearest, rtol=1e-5)


def test_no_more_neighbours_than_the_bank_has(scene):
    bank, embeddings = scene
    patches = MatchedPatches(Level(embeddings), Neighbours(bank[:2]), "euclidean")
    assert patches.around_match(9).shape == (60, 2)
    assert patches.around_patch(9, torch.tensor([0])).shape == (1, 2)


def test_worst_patch_of_each_image_is_a_valid_one(scene):
    bank, embeddings = scene
    scores = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    scores[:, 0, 0] = 9
    scores[:, 2, 3] = 5
    valid = torch.ones(4, 5, dtype=torch.bool)
    for first, expected in ((True, [0, 20, 40]), (False, [13, 33, 53])):
        valid[0, 0] = first
        patches = MatchedPatches(Level(embeddings, valid=valid), Neighbours(bank), "euclidean")
        assert patches.worst(scores.flatten()).tolist() == expected
        torch.testing.assert_close(patches.grid(scores.flatten()), scores)


def test_hcw_00_weights_keep_their_order_where_one_neighbour_outweighs_all():
    """1 - max softmax rounds to zero in float32; the weights must not tie there."""
    bank = torch.tensor([[0.0], [8.0]])
    level = Level(torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None, None])
    weighted = hcw_00_weighted(MatchedPatches(level, Neighbours(bank), "squared"), 9)
    near, far = level.values.flatten().double() ** 2, (8 - level.values.flatten().double()) ** 2
    expected = near / (1 + (far - near).exp())
    assert (expected > 0).all()
    np.testing.assert_allclose(weighted, expected, rtol=1e-3)


def test_scores_are_means_over_levels(scene):
    bank, embeddings = scene
    outputs = Outputs(
        (8, 10),
        PatchEmbeddings((Level(embeddings), Level(embeddings[:, :2, :2]))),
        PatchBank((Neighbours(bank), Neighbours(bank[:3]))),
    )

    def score_level(level, neighbours):
        constant = float(len(neighbours.bank))
        return torch.full(level.values.shape[:3], constant), torch.full((3,), -constant)

    scores = score_patches(outputs, score_level, sigma=1)
    torch.testing.assert_close(scores.map, torch.full((3, 8, 10), 11.5))
    torch.testing.assert_close(scores.image, torch.full((3,), -11.5))
