"""A loop over epochs that continues after an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from adbench_harness.types import Batch, Tools, TrainSet


def train_epochs(
    loss_of: Callable[[Batch], Tensor],
    parts: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    train: TrainSet,
    tools: Tools,
    *,
    epochs: int,
    batch: int,
    rate: Callable[[float], float] | None = None,
    clip: float | None = None,
) -> None:
    """Minimise the mean ``loss_of`` the batches, in another order in every epoch.

    The state is saved after every epoch, and a training that was interrupted continues with the
    same numbers. The curve ``loss`` has the mean loss of every epoch.

    Args:
        loss_of: the loss, a scalar, of a batch of training images.
        parts: the networks that are trained, by the names under which their state is saved.
        optimiser: of their parameters, with the learning rates that ``rate`` multiplies.
        train: the training images.
        tools: its generator orders the images; ``loss_of`` may draw from it too.
        epochs: passes over the images.
        batch: images per step.
        rate: the factor of the learning rates, by the number of epochs that are done (a fraction
            within an epoch). None: always 1.
        clip: maximum norm of the gradients. None: no limit.

    Raises:
        RuntimeError: an epoch's loss is not finite.
    """
    base = [group["lr"] for group in optimiser.param_groups]
    start = 0
    if state := tools.checkpoint.load():
        for name, part in parts.items():
            part.load_state_dict(state["network"][name])
        optimiser.load_state_dict(state["optimiser"])
        tools.generator.set_state(state["generator"])
        start = state["epochs"]
    for epoch in range(start, epochs):
        losses: list[Tensor] = []
        sizes: list[int] = []
        for images in train.batches(batch, tools.generator):
            if rate is not None:
                factor = rate(epoch + sum(sizes) / len(train))
                for group, initial in zip(optimiser.param_groups, base, strict=True):
                    group["lr"] = initial * factor
            loss = loss_of(images)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if clip is not None:
                trained = (p for part in parts.values() for p in part.parameters())
                nn.utils.clip_grad_norm_(trained, clip)
            optimiser.step()
            losses.append(loss.detach())
            sizes.append(len(images))
            tools.progress(epoch * len(train) + sum(sizes), epochs * len(train))
        # Read at the end, so that a GPU need not wait for each step.
        values = torch.stack(losses).tolist()
        mean = sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)
        if not math.isfinite(mean):
            raise RuntimeError(
                f"the loss of epoch {epoch + 1} is {mean}; try a lower learning rate"
            )
        tools.log("loss", mean)
        tools.checkpoint.save(
            {
                "epochs": epoch + 1,
                "network": {name: part.state_dict() for name, part in parts.items()},
                "optimiser": optimiser.state_dict(),
                "generator": tools.generator.get_state(),
            }
        )
