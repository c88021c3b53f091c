"""A loop over steps that trains networks on pseudo-anomalies and can be resumed at any step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import Literal

import torch
from torch import Tensor, nn

from adbench_harness.types import Augmented, Augmenter, Batch, Tools, TrainSet

SAVES = 100
"""Number of saved states, and of points of a loss curve, per stage."""
SECONDS = 10.0
"""A state is saved at least this often, so that an interruption costs little."""
AHEAD = 8
"""Steps whose work on the CPU is done while a GPU trains."""
BATCH = 8
"""Images whose statistics are computed together."""

Restated = Literal["normal", "augmented"]
"""The images from which statistics are computed."""
Loss = Callable[[Tensor, Augmented], Tensor]
"""A scalar, from clean images [B, 3, H, W] and what the augmenter made of them."""
Completed = Callable[[Augmented], Augmented]
"""What the augmenter made, with what a loss needs besides; it is called in threads."""


def falls_twice(done: float) -> float:
    """The factor of a learning rate that falls to a fifth after 80% and after 90% of the steps."""
    return 0.2 ** ((done >= 0.8) + (done >= 0.9))


def train_stages(
    stages: nn.ModuleList,
    losses: Sequence[Loss],
    train: TrainSet,
    tools: Tools,
    *,
    steps: int,
    batch: int,
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    rate: Callable[[float], float] = falls_twice,
    restate: Restated | None = None,
    prepared: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    completed: Mapping[int, Completed] | None = None,
) -> None:
    """Minimise each stage's loss over ``steps`` batches; later stages do not change earlier ones.

    The state is saved at least every 10 seconds, and a training that was interrupted continues with
    the same numbers. The curves are the losses, by stage, and the share of anomalous pixels.

    Args:
        stages: the networks, trained one after the other.
        losses: the loss of each stage.
        train: the normal images.
        tools: the augmenter changes a batch in every step.
        steps: number of batches for each stage.
        batch: images per step.
        optimiser: makes a stage's optimiser from its parameters.
        rate: the factor of the learning rate, by the share of the steps that is done.
        restate: the images from which the statistics of batch normalisation are computed at the
            end: the normal ones, or what the augmenter makes of them. None: the last steps'.
        prepared: the clean images that the augmenter gets, from the normal ones. None: the same.
        completed: slow work on the CPU, by the number of the stage whose loss needs it. On a GPU,
            it is done some steps ahead.
    """
    assert tools.augmenter is not None, "the model declares that it needs one"
    # Each step has its own generator, so that a training can resume at any step.
    seed = int(torch.randint(2**62, (), generator=tools.generator))
    window = max(1, steps // SAVES)
    state = tools.checkpoint.load() or {"stage": 0, "step": 0}
    if "stages" in state:
        stages.load_state_dict(state["stages"])
    stages.eval()
    for number, (stage, loss_of) in enumerate(zip(stages, losses, strict=True)):
        if number < state["stage"]:
            continue
        trained = optimiser(stage.parameters())
        base = [group["lr"] for group in trained.param_groups]
        start = 0
        if number == state["stage"] and "stages" in state:
            trained.load_state_dict(state["optimiser"])
            start = state["step"]
        stage.train()
        total, shares = torch.zeros((), device=tools.device), []
        if start % window:  # the state was saved between two points of the curve
            total += state["total"]
            shares.append(state["shares"].to(tools.device))
        saved = time.monotonic()
        batches = islice(_batches(train, batch, seed + number, start), steps - start)
        first = seed + number * steps + start
        drawn = _drawn(batches, first, tools.augmenter, prepared)
        complete = (completed or {}).get(number)
        if complete is not None:
            drawn = _ahead(drawn, complete, 0 if tools.device.type == "cpu" else AHEAD)
        for step, (clean, augmented) in enumerate(drawn, start):
            for group, initial in zip(trained.param_groups, base, strict=True):
                group["lr"] = initial * rate(step / steps)
            shares.append(augmented.masks.float().mean((1, 2)))
            loss = loss_of(clean, augmented)
            trained.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            trained.step()
            total += loss.detach()
            tools.progress(number * steps + step + 1, len(stages) * steps)
            is_point = (step + 1) % window == 0
            if is_point:
                tools.log(f"loss {number + 1}", float(total) / window)
                total.zero_()
                if number == 0:  # how many anomalous pixels an image has, and how much that varies
                    share = torch.cat(shares)
                    tools.log("anomalous pixels", float(share.mean()))
                    tools.log("anomalous pixels, deviation", float(share.std(correction=0)))
                shares.clear()
            if is_point or time.monotonic() - saved > SECONDS:
                tools.checkpoint.save(
                    {
                        "stage": number,
                        "step": step + 1,
                        "stages": stages.state_dict(),
                        "optimiser": trained.state_dict(),
                        "total": total,
                        "shares": torch.cat(shares) if shares else torch.empty(0),
                    }
                )
                saved = time.monotonic()
        if restate is not None:
            generator = torch.Generator().manual_seed(seed + len(stages) * steps + number)
            augment = partial(tools.augmenter.augment, generator=generator)
            _restate(stage, loss_of, train, _clean if restate == "normal" else augment, complete)
        stage.eval()


def _drawn(
    batches: Iterable[Batch],
    seed: int,
    augmenter: Augmenter,
    prepared: Callable[[Tensor, torch.Generator], Tensor] | None,
) -> Iterator[tuple[Tensor, Augmented]]:
    """The clean images and what the augmenter makes of them, from one more seed for each batch."""
    for number, clean in enumerate(batches):
        generator = torch.Generator().manual_seed(seed + number)
        if prepared is not None:
            clean = replace(clean, images=prepared(clean.images, generator), handles=None)
        yield clean.images, augmenter.augment(clean, generator)


def _ahead(
    drawn: Iterable[tuple[Tensor, Augmented]], complete: Completed, steps: int
) -> Iterator[tuple[Tensor, Augmented]]:
    """What was drawn, completed in threads ``steps`` steps before it is needed (0: when it is)."""
    if not steps:
        yield from ((clean, complete(augmented)) for clean, augmented in drawn)
        return
    waiting: deque[tuple[Tensor, Future[Augmented]]] = deque()
    with ThreadPoolExecutor(steps) as pool:
        for clean, augmented in drawn:
            waiting.append((clean, pool.submit(complete, augmented)))
            if len(waiting) > steps:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _restate(
    stage: nn.Module,
    loss_of: Loss,
    train: TrainSet,
    augment: Callable[[Batch], Augmented],
    complete: Completed | None,
) -> None:
    """The statistics of batch normalisation as averages over the training images."""
    norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for batch in train.batches(BATCH):
            augmented = augment(batch)
            loss_of(batch.images, augmented if complete is None else complete(augmented))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _clean(batch: Batch) -> Augmented:
    """The images as they are."""
    masks = torch.zeros_like(batch.images[:, 0], dtype=torch.bool)
    return Augmented(batch.images, masks, masks.new_zeros(len(batch), dtype=torch.long))


def _batches(train: TrainSet, size: int, seed: int, start: int) -> Iterator[Batch]:
    """Endless batches from batch ``start`` on, with another order in every epoch."""
    epochs, skipped = divmod(start, -(-len(train) // size))
    for epoch in count(epochs):
        generator = torch.Generator().manual_seed(seed + epoch)
        yield from islice(train.batches(size, generator), skipped, None)
        skipped = 0
