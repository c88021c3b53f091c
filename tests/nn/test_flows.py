from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import Normal

from adbench_harness.nn.flows import (
    Coupling,
    CrossScale,
    Flow,
    convolutions,
    log_likelihood,
    negative_log_likelihood,
    perceptron,
    soft_clamp,
)

SIZES = [(4, 4), (2, 2), (1, 1)]
"""Grids of three scales; odd sizes are tested on their own."""


def cross_scale(scales, inputs, outputs, kernel=3):
    network = CrossScale(scales, inputs, outputs, hidden=6, kernel=kernel)
    torch.nn.init.normal_(network.factors)  # they start at 0, where the network returns only zeros
    return network


CASES = {
    "3x3": (convolutions(6), [(3, 4)], 0),
    "1x1": (convolutions(6, kernel=1), [(3, 4)], 0),
    "conditional": (convolutions(6), [(3, 2)], 4),
    "vectors": (perceptron(7), [()], 0),
    "conditional vectors": (perceptron(7), [()], 4),
    "cross-scale": (partial(cross_scale, 3), SIZES, 0),
    "cross-scale 5x5": (partial(cross_scale, 3, kernel=5), SIZES, 0),
    "cross-scale of odd sizes": (partial(cross_scale, 2), [(3, 3), (1, 1)], 0),
}


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=[(4, False), (4, True), (5, False), (5, True)], ids=str)
def flow_of(request, case):
    """A flow of double precision in evaluation, its input and its conditions."""
    channels, both = request.param
    subnetwork, sizes, conditions = case
    torch.manual_seed(0)
    couplings = [
        Coupling(channels, subnetwork, 1.9, both=both, conditions=conditions) for _ in range(3)
    ]
    flow = Flow(couplings).double()
    grids = tuple(2 * torch.randn(2, channels, *size, dtype=torch.double) for size in sizes)
    given = tuple(torch.randn(2, conditions, *size, dtype=torch.double) for size in sizes)
    return flow, grids, given if conditions else ()


def test_inverse_undoes_the_flow(flow_of):
    flow, grids, conditions = flow_of
    latents, _ = flow(grids, conditions)
    for grid, latent, back in zip(grids, latents, flow.inverse(latents, conditions), strict=True):
        assert not torch.allclose(grid, latent, atol=0.1)
        torch.testing.assert_close(back, grid)


def test_log_determinant_is_that_of_the_jacobian(flow_of):
    """The sum over positions and scales is autograd's log |det J| of the whole map."""
    flow, grids, conditions = flow_of
    sizes = [grid[0].numel() for grid in grids]

    def flat(values, given):
        parts = values.split(sizes)
        one = tuple(part.view(1, *grid.shape[1:]) for part, grid in zip(parts, grids, strict=True))
        latents, _ = flow(one, given)
        return torch.cat([latent.flatten() for latent in latents])

    _, determinants = flow(grids, conditions)
    for determinant, grid in zip(determinants, grids, strict=True):
        assert determinant.shape == grid[:, 0].shape
    for image in range(2):
        values = torch.cat([grid[image].flatten() for grid in grids])
        given = tuple(condition[image : image + 1] for condition in conditions)
        jacobian = torch.autograd.functional.jacobian(partial(flat, given=given), values)
        _, expected = torch.linalg.slogdet(jacobian)
        found = sum(determinant[image].sum() for determinant in determinants)
        assert abs(expected) > 1e-3
        torch.testing.assert_close(found, expected)


def test_conditions_change_the_latents():
    torch.manual_seed(0)
    flow = Flow([Coupling(4, perceptron(8), 2, conditions=3)])
    vectors, condition = torch.randn(5, 4), torch.randn(5, 3)
    (here,), _ = flow((vectors,), (condition,))
    (there,), _ = flow((vectors,), (condition + 1,))
    assert not torch.allclose(here, there, atol=1e-3)


def test_the_first_half_is_only_permuted_unless_both_are_transformed():
    torch.manual_seed(0)
    grid = torch.randn(2, 5, 3, 3)
    for both in (False, True):
        coupling = Coupling(5, convolutions(4), 2, both=both)
        (found,), _ = coupling((grid,))
        assert torch.equal(found[:, :3], grid[:, coupling.order[:3]]) is not both
        assert not torch.equal(found[:, 3:], grid[:, coupling.order[3:]])


def test_permutations_differ_are_fixed_and_stored():
    torch.manual_seed(0)
    flow = Flow(Coupling(32, convolutions(4), 2) for _ in range(3))
    orders = [coupling.order for coupling in flow.couplings]
    assert all(sorted(order.tolist()) == [*range(32)] for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 3
    other = Flow(Coupling(32, convolutions(4), 2) for _ in range(3))
    grid = torch.rand(1, 32, 4, 4)
    assert not torch.equal(flow((grid,))[0][0], other((grid,))[0][0])
    other.load_state_dict(flow.state_dict())
    assert torch.equal(flow((grid,))[0][0], other((grid,))[0][0])


@pytest.mark.parametrize("clamp", [1.9, 3])
def test_scales_are_clamped_softly(clamp):
    values = torch.tensor([-1e9, -1.0, 0.0, 1e-4, 1.0, 1e9], dtype=torch.double)
    found = soft_clamp(values, clamp)
    assert found[[0, -1]].tolist() == pytest.approx([-clamp, clamp])
    assert found[2] == 0
    assert found[3] == pytest.approx(2 / math.pi * 1e-4)
    assert (found.diff() > 0).all()
    torch.manual_seed(0)
    coupling = Coupling(8, perceptron(4), clamp)
    _, (determinant,) = coupling((1e6 * torch.randn(100, 8),))
    assert (determinant.abs() <= 4 * clamp).all()
    assert determinant.abs().max() > 2 * clamp


def test_a_single_channel_is_refused():
    with pytest.raises(ValueError, match="at least 2 channels, not 1"):
        Coupling(1, convolutions(4), 2)


def test_a_new_cross_scale_coupling_only_permutes():
    coupling = Coupling(4, lambda i, o: CrossScale(2, i, o, 8, 3), 3, both=True)
    grids = torch.rand(1, 4, 4, 4), torch.rand(1, 4, 2, 2)
    found, determinants = coupling(grids)
    for grid, latent, determinant in zip(grids, found, determinants, strict=True):
        assert torch.equal(latent, grid[:, coupling.order])
        assert not determinant.any()


def test_neighbouring_scales_see_each_other_and_no_others():
    torch.manual_seed(0)
    network = cross_scale(3, 2, 3)
    grids = [torch.rand(1, 2, 8, 8), torch.rand(1, 2, 4, 4), torch.rand(1, 2, 2, 2)]
    before = network(*grids)
    for scale, affected in enumerate([(True, True, False), (True,) * 3, (False, True, True)]):
        changed = [grid + (i == scale) for i, grid in enumerate(grids)]
        after = network(*changed)
        found = tuple(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert found == affected


def test_log_likelihood_is_that_of_a_standard_normal():
    """For the flow y = 3 x, the density of x is 3 N(3 x)."""
    values = torch.randn(2, 5, 3, 3, dtype=torch.double)
    determinants = torch.full((2, 3, 3), 5 * math.log(3.0), dtype=torch.double)
    expected = Normal(0.0, 1 / 3).log_prob(values).sum(1)
    torch.testing.assert_close(log_likelihood(3 * values, determinants), expected)
    total = float(negative_log_likelihood([3 * values], [determinants]))
    constant = 0.5 * math.log(2 * math.pi) * 45
    assert total == pytest.approx(float(-expected.sum() / 2) - constant)


def test_a_trained_flow_learns_a_density():
    """A curved distribution, which no Gaussian of the two values fits."""
    torch.manual_seed(0)
    across = torch.randn(2000)
    vectors = torch.stack([across, across.square() + 0.1 * torch.randn(2000)], 1)
    flow = Flow(Coupling(2, perceptron(16), 2, both=True) for _ in range(4))
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(200):
        loss = negative_log_likelihood(*flow((vectors,)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    gaussian = torch.distributions.MultivariateNormal(vectors.mean(0), vectors.T.cov())
    (latents,), (determinants,) = flow((vectors,))
    assert log_likelihood(latents, determinants).mean() > gaussian.log_prob(vectors).mean() + 1
