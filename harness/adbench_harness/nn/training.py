"""Networks with weights drawn from a trial's seed, and a loop over epochs that can be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from adbench_harness.types import Batch, Checkpoint, ImageSet, Tools

BatchSize = Annotated[int, Field(ge=1, description="images per step")]
Samples = Annotated[
    int,
    Field(
        ge=1,
        description="images per epoch, in as many passes over the training images as this needs",
    ),
]


@contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Networks that are created within draw their initial weights from ``generator``."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def stage(tools: Tools, name: str) -> Tools:
    """``tools`` for one of several calls of ``train_epochs``: its own state and curves.

    An interrupted training continues in the stage that it had reached.
    """
    return replace(
        tools,
        checkpoint=_Part(tools.checkpoint, name),
        log=lambda curve, value: tools.log(f"{name} {curve}", value),
    )


class _Part:
    """The entry of one stage in a checkpoint."""

    def __init__(self, whole: Checkpoint, name: str) -> None:
        self.whole = whole
        self.name = name
        self.states: dict[str, Any] = {}

    def load(self) -> dict[str, Any] | None:
        self.states = self.whole.load() or {}
        return self.states.get(self.name)

    def save(self, state: Mapping[str, Any]) -> None:
        self.whole.save({**self.states, self.name: state})


class Repeated:
    """Images of which an epoch needs ``samples``: each batch loop passes over them until it has.

    Implements ``ImageSet``. The last pass is a whole one, and each one has its own order.
    """

    def __init__(self, images: ImageSet, samples: int) -> None:
        self.images = images
        self.passes = -(-samples // len(images))

    def __len__(self) -> int:
        return self.passes * len(self.images)

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        for _ in range(self.passes):
            yield from self.images.batches(size, generator)


def train_epochs(
    loss_of: Callable[[Batch], Tensor | Iterator[Tensor]],
    parts: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    train: ImageSet,
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
        loss_of: the loss, a scalar, of a batch of training images; or an iterator over several,
            each of which is a step and is computed after the step before it.
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
            found = loss_of(images)
            stepped: list[Tensor] = []
            for loss in (found,) if isinstance(found, Tensor) else found:
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if clip is not None:
                    trained = (p for part in parts.values() for p in part.parameters())
                    nn.utils.clip_grad_norm_(trained, clip)
                optimiser.step()
                stepped.append(loss.detach())
            losses.append(torch.stack(stepped).mean())
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
