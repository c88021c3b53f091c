from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from torch import nn

from adbench_harness.nn.training import Repeated, drawn_from, stage, train_epochs
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting

EPOCHS, IMAGES = 4, 6


def trained(checkpoint, *, seed=3, stop=None, epochs=EPOCHS, rate=None, clip=None, spoil=None):
    """A network trained on small images for a number that noise of the generator changes."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    tools = dataclasses.replace(
        fitting.tools(None, 16),
        generator=torch.Generator().manual_seed(seed),
        log=checkpoint.log,
        checkpoint=checkpoint,
    )
    rates, norms = [], []
    steps = 0

    def loss_of(batch):
        nonlocal steps
        steps += 1
        if steps == stop:
            raise KeyboardInterrupt
        rates.append(optimiser.param_groups[0]["lr"])
        target = torch.rand((), generator=tools.generator)
        loss = (network(batch.images).mean() - target).square()
        return loss * float("nan") if steps == spoil else loss

    def watch(*_):
        norms.append(torch.stack([p.grad.norm() for p in network.parameters()]).norm().item())

    optimiser.register_step_pre_hook(watch)
    train = fitting.train(fitting.textures(IMAGES, 16))
    train_epochs(
        loss_of,
        {"all": network},
        optimiser,
        train,
        tools,
        epochs=epochs,
        batch=4,
        rate=rate,
        clip=clip,
    )
    return network, rates, norms


@pytest.mark.parametrize("stop", [1, 2, 4, 8])
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path, stop):
    whole = FileCheckpoint(tmp_path / "whole.pt")
    expected, *_ = trained(whole, rate=lambda done: 0.5**done)
    path = tmp_path / "part.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(FileCheckpoint(path), stop=stop, rate=lambda done: 0.5**done)
    resumed = FileCheckpoint(path)
    # Another seed has no effect where a state was saved: the generator's is part of it.
    found, *_ = trained(resumed, seed=9 if stop > 2 else 3, rate=lambda done: 0.5**done)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert resumed.curves == whole.curves
    assert len(whole.curves["loss"]) == EPOCHS


def test_the_rate_is_a_function_of_the_epochs_that_are_done():
    _, rates, _ = trained(FileCheckpoint(None), epochs=2, rate=lambda done: 1 + done)
    assert rates == pytest.approx([0.1, 0.1 * (1 + 4 / 6), 0.2, 0.1 * (2 + 4 / 6)])
    _, rates, _ = trained(FileCheckpoint(None), epochs=1)
    assert rates == [0.1, 0.1]


def test_gradients_are_clipped():
    _, _, free = trained(FileCheckpoint(None), epochs=1)
    limit = min(free) / 2
    _, _, norms = trained(FileCheckpoint(None), epochs=1, clip=limit)
    assert norms == pytest.approx([limit, limit], rel=1e-4)


def test_the_curve_is_the_mean_over_images_not_over_batches():
    checkpoint = FileCheckpoint(None)
    given = iter([1.0, 4.0])
    weight = nn.Linear(1, 1)
    tools = dataclasses.replace(fitting.tools(None, 16), log=checkpoint.log, checkpoint=checkpoint)
    train_epochs(
        lambda batch: weight.weight.sum() * 0 + next(given),
        {"all": weight},
        torch.optim.SGD(weight.parameters(), lr=0.1),
        fitting.train(fitting.textures(IMAGES, 16)),
        tools,
        epochs=1,
        batch=4,
    )
    assert checkpoint.curves["loss"] == [pytest.approx((4 * 1 + 2 * 4) / 6)]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    with pytest.raises(RuntimeError, match="the loss of epoch 2 is nan; try a lower"):
        trained(FileCheckpoint(tmp_path / "a.pt"), spoil=3)
    assert len(FileCheckpoint(tmp_path / "a.pt").load()["network"]) == 1, "epoch 1 is kept"


def test_weights_are_drawn_from_the_generator_and_nothing_else():
    def made(seed, disturbance):
        torch.manual_seed(disturbance)
        generator = torch.Generator().manual_seed(seed)
        before = torch.random.get_rng_state()
        weights = []
        for _ in range(2):
            with drawn_from(generator):
                weights.append(nn.Linear(4, 4).weight)
        assert torch.equal(torch.random.get_rng_state(), before)
        return torch.stack(weights)

    first = made(1, 2)
    assert torch.equal(first, made(1, 3))
    assert not torch.equal(first, made(2, 2))
    assert not torch.equal(first[0], first[1])


def test_several_losses_of_a_batch_are_as_many_steps():
    """Each loss is computed after the step before it; the curve has the mean of all."""
    checkpoint = FileCheckpoint(None)
    tools = dataclasses.replace(fitting.tools(None, 16), log=checkpoint.log, checkpoint=checkpoint)
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)

    def losses_of(_):
        for _ in range(3):
            yield network.weight.square().sum() / 2  # its gradient is the weight

    train_epochs(
        losses_of,
        {"all": network},
        torch.optim.SGD(network.parameters(), lr=0.5),
        fitting.train(fitting.textures(2, 16)),
        tools,
        epochs=1,
        batch=2,
    )
    assert network.weight.item() == 0.5**3
    assert checkpoint.curves["loss"] == [pytest.approx((1 + 1 / 4 + 1 / 16) / 6)]


@pytest.mark.parametrize("stop", [None, 2, 5, 7])
def test_a_training_of_two_stages_continues_where_it_was(tmp_path, stop):
    """Each stage has 2 epochs of 2 steps; ``stop`` is the step that is interrupted."""

    def run(path, stop=None):
        checkpoint = FileCheckpoint(path)
        tools = dataclasses.replace(
            fitting.tools(None, 16), log=checkpoint.log, checkpoint=checkpoint
        )
        torch.manual_seed(0)
        first, second = nn.Linear(1, 1), nn.Linear(1, 1)
        steps = []

        def loss_of(_, network):
            steps.append(network)
            if len(steps) == stop:
                raise KeyboardInterrupt
            noise = torch.rand(1, generator=tools.generator)
            return (network(first(noise)) - noise).square().sum()

        for name, network in (("first", first), ("second", second)):
            train_epochs(
                functools.partial(loss_of, network=network),
                {"network": network},
                torch.optim.Adam(network.parameters(), lr=0.1),
                fitting.train(fitting.textures(4, 16)),
                stage(tools, name),
                epochs=2,
                batch=2,
            )
        return first.weight.item(), second.weight.item(), checkpoint.curves, len(steps)

    *expected, _ = run(tmp_path / "whole.pt")
    assert {name: len(values) for name, values in expected[-1].items()} == {
        "first loss": 2,
        "second loss": 2,
    }
    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "part.pt", stop)
    *found, steps = run(tmp_path / "part.pt")
    assert found == expected
    assert steps == 8 - 2 * (((stop or 1) - 1) // 2)


@pytest.mark.parametrize(("samples", "passes"), [(1, 1), (IMAGES, 1), (IMAGES + 1, 2), (20, 4)])
def test_repeated_images_are_as_many_as_asked_each_pass_in_its_own_order(samples, passes):
    images = torch.arange(IMAGES).div(255).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    repeated = Repeated(fitting.train(images), samples)
    assert len(repeated) == passes * IMAGES
    seen = [
        (batch.images[:, 0, 0, 0] * 255).round().int().tolist()
        for batch in repeated.batches(4, torch.Generator().manual_seed(0))
    ]
    assert [len(batch) for batch in seen] == [4, 2] * passes
    orders = [tuple(one + other) for one, other in zip(seen[::2], seen[1::2], strict=True)]
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(IMAGES))}
    assert len(set(orders)) == passes
