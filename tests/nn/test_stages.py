from __future__ import annotations

import dataclasses
import threading
from functools import partial

import pytest
import torch
from torch import nn

from adbench_harness.nn import stages
from adbench_harness.nn.stages import falls_twice, train_stages
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting

SIDE = 16


class Dark(fitting.Blobs):
    """Blackens the first half of each batch; the training is interrupted at a call."""

    def __init__(self, fails_at=None):
        self.fails_at, self.seen = fails_at, []

    def augment(self, batch, generator):
        self.seen.append(batch)
        if len(self.seen) == self.fails_at:
            raise KeyboardInterrupt
        masks = torch.zeros(len(batch), SIDE, SIDE, dtype=torch.bool)
        masks[: len(batch) // 2] = True
        images = batch.images.masked_fill(masks[:, None], 0)
        return stages.Augmented(images, masks, masks.any((1, 2)).long())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1))


def trained(checkpoint=None, augmenter=None, **settings):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(
        fitting.tools(augmenter or Dark(), SIDE), checkpoint=checkpoint, log=checkpoint.log
    )
    built = nn.ModuleList([network(), network()])
    found = []

    def loss_of(stage, clean, augmented):
        found.append((clean, augmented))
        return (stage(augmented.images)[:, 0] - augmented.masks.float()).square().mean()

    given = {"steps": 5, "batch": 4, "optimiser": partial(torch.optim.SGD, lr=0.1, momentum=0.9)}
    train_stages(
        built,
        [partial(loss_of, stage) for stage in built],
        fitting.train(fitting.textures(6, SIDE)),
        tools,
        **given | settings,
    )
    return built, found


def test_losses_get_the_clean_images_and_what_the_augmenter_made_of_them():
    _, found = trained()
    assert len(found) == 10
    for clean, augmented in found:
        assert torch.equal(augmented.images, clean.masked_fill(augmented.masks[:, None], 0))
        assert augmented.masks.any()


def test_the_augmenter_gets_the_prepared_images():
    augmenter = Dark()
    _, found = trained(augmenter=augmenter, prepared=lambda images, _: images / 2)
    for batch, (clean, _) in zip(augmenter.seen, found, strict=True):
        assert batch.images.max() < 0.5
        assert torch.equal(batch.images, clean)
        assert batch.handles is None


def test_the_rate_multiplies_the_optimisers_own(monkeypatch):
    rates = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD,
        "step",
        lambda self, *args: rates.append(self.param_groups[0]["lr"]) or step(self, *args),
    )
    trained(steps=4, rate=lambda done: 1 - done)
    assert rates == pytest.approx(2 * [0.1, 0.075, 0.05, 0.025])
    assert [falls_twice(done) for done in (0, 0.79, 0.8, 0.9)] == pytest.approx([1, 1, 0.2, 0.04])


@pytest.mark.parametrize("restate", ["normal", "augmented"])
def test_statistics_are_those_of_all_images(restate):
    built, _ = trained(restate=restate)
    images = fitting.textures(6, SIDE)
    images = (images * 255).round() / 255
    if restate == "augmented":
        images[:3] = 0
    values = built[0][0](images).detach()
    torch.testing.assert_close(built[0][1].running_mean, values.mean((0, 2, 3)))
    torch.testing.assert_close(built[0][1].running_var, values.var((0, 2, 3)))
    assert built[0][1].momentum == 0.1


@pytest.mark.parametrize("fails_at", [2, 6, 9])
@pytest.mark.parametrize("restate", [None, "augmented"])
def test_interrupted_training_ends_the_same(tmp_path, monkeypatch, fails_at, restate):
    monkeypatch.setattr(stages, "SECONDS", -1.0)
    whole, path = FileCheckpoint(None), tmp_path / "state.pt"
    expected, _ = trained(whole, restate=restate)
    with pytest.raises(KeyboardInterrupt):
        trained(FileCheckpoint(path), Dark(fails_at), restate=restate)
    resumed = FileCheckpoint(path)
    found, steps = trained(resumed, restate=restate)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert resumed.curves == whole.curves
    assert len(steps) < 12


@pytest.mark.parametrize("fails_at", [None, 8])
def test_work_that_is_done_ahead_changes_no_number(tmp_path, monkeypatch, fails_at):
    monkeypatch.setattr(stages, "SECONDS", -1.0)
    threads = set()

    def darkened(augmented):
        threads.add(threading.current_thread())
        return dataclasses.replace(augmented, images=augmented.images / 2)

    completed = {1: darkened}
    expected, steps = trained(completed=completed, restate="normal")
    assert threads == {threading.current_thread()}
    for number, (clean, augmented) in enumerate(steps):
        factor = 1 if number < 5 + 1 else 0.5  # the first stage's steps, and its statistics
        made = clean.masked_fill(augmented.masks[:, None], 0)
        assert torch.equal(augmented.images, factor * made)
    ahead = stages._ahead
    monkeypatch.setattr(stages, "_ahead", lambda drawn, complete, _: ahead(drawn, complete, 3))
    if fails_at:
        with pytest.raises(KeyboardInterrupt):
            trained(FileCheckpoint(tmp_path / "state"), Dark(fails_at), completed=completed)
    found, _ = trained(FileCheckpoint(tmp_path / "state"), completed=completed, restate="normal")
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert len(threads) > 1
