"""Trains an anomalib module with a Lightning trainer that writes no files and prints nothing."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from anomalib import LearningType
from anomalib.data import ImageBatch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader, IterableDataset

from adbench_harness.types import ImageSet, Tools, TrainSet

UNTRAINED: Final = (LearningType.ZERO_SHOT, LearningType.FEW_SHOT)


def train_module(
    build: Callable[[], Any], train: TrainSet, tools: Tools, epochs: int | None, batch: int
) -> Any:
    """``build``'s module, trained; in eval mode on the device.

    Its own trainer arguments are used, except for ``epochs`` if given. Hooks that need a validation
    run after the training, on the held-out normal images or, if there are none, on the training
    images: anomalib usually takes the test images, which are not available here.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        module = build()
        data = _Data(train, batch, tools.generator)
        own = {**module.trainer_arguments, "limit_val_batches": 0}
        if epochs is not None:
            own |= {"max_epochs": epochs, "check_val_every_n_epoch": 1}
        if module.learning_type not in UNTRAINED:
            _trainer(tools, folder, own, [_Watch(tools)]).fit(module, datamodule=data)
        # The hooks at the start of a validation process all of its images; one batch is enough.
        _trainer(tools, folder, {"limit_val_batches": 1}, []).validate(
            module, datamodule=data, verbose=False
        )
    return module.to(tools.device).eval()


def _trainer(tools: Tools, folder: str, own: dict[str, Any], callbacks: list[Callback]) -> Trainer:
    on_gpu = tools.device.type == "cuda"
    settings = {
        **own,
        "accelerator": "gpu" if on_gpu else "cpu",
        "devices": [tools.device.index or 0] if on_gpu else 1,
    }
    return Trainer(
        **settings,
        callbacks=callbacks,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )


class _Watch(Callback):
    """Progress and curves of a training."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._done = 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self._done += 1
        total = (trainer.max_epochs or 1) * int(trainer.num_training_batches)
        self._tools.progress(self._done, max(total, self._done))

    def on_train_epoch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        for name, value in trainer.callback_metrics.items():
            if not name.endswith(("_step", "_epoch")):
                self._tools.log(name, float(value))


class _Data(LightningDataModule):
    """The training images, and held-out ones, as anomalib's models expect them."""

    name = "adbench"

    def __init__(self, train: TrainSet, batch: int, generator: torch.Generator) -> None:
        super().__init__()
        self.train_batch_size = self.eval_batch_size = batch
        held_out = train.validation if len(train.validation) else train
        self._train = DataLoader(_Batches(train, batch, generator), batch_size=None)
        self._held_out = DataLoader(_Batches(held_out, batch, None), batch_size=None)

    def train_dataloader(self) -> Any:
        return self._train

    def val_dataloader(self) -> Any:
        return self._held_out


class _Batches(IterableDataset[Any]):
    """Normal images in batches, shuffled by a generator if there is one."""

    def __init__(self, images: ImageSet, size: int, generator: torch.Generator | None) -> None:
        self._images, self._size, self._generator = images, size, generator

    def __len__(self) -> int:
        return -(-len(self._images) // self._size)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._images.batches(self._size, self._generator):
            yield ImageBatch(
                image=batch.images.clone(),
                gt_label=torch.zeros(len(batch), dtype=torch.bool, device=batch.images.device),
                gt_mask=torch.zeros_like(batch.images[:, 0], dtype=torch.bool),
            )
