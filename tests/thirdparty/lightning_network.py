"""A third party's Lightning module: ``--plugins tests/thirdparty/lightning_network.py``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import lightning
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import (
    AnomalyMap,
    Batch,
    InputSpec,
    Level,
    Model,
    Outputs,
    Tools,
    TrainSet,
)


class LightningAutoEncoder(lightning.LightningModule, Model):
    """What the network cannot rebuild is anomalous."""

    name, summary, version = "lightning-autoencoder", "Reconstruction error, under a trainer.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(64, None)

    def __init__(
        self, *, epochs: Annotated[int, Field(ge=1, description="of the trainer")] = 20
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 8, 8), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.ConvTranspose2d(4, 3, 8, 8)
        )

    def training_step(self, images: Tensor, _: int) -> Tensor:
        loss = functional.mse_loss(self.network(images), images)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def fit(self, train: TrainSet, tools: Tools) -> None:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(int(torch.randint(2**62, (), generator=tools.generator)))
            for part in self.network.children():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        with tempfile.TemporaryDirectory() as folder:
            lightning.Trainer(
                accelerator="gpu" if tools.device.type == "cuda" else "cpu",
                devices=1,
                max_epochs=self.hparams["epochs"],
                default_root_dir=folder,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(self, DataLoader(Images(train, tools.generator), batch_size=None))
        self.to(tools.device).eval()

    def predict(self, batch: Batch) -> Outputs:
        error = (self.network(batch.images) - batch.images).square().mean(1)
        return Outputs((64, 64), AnomalyMap((Level(error),)))


class Images(IterableDataset[Tensor]):
    def __init__(self, train: TrainSet, generator: torch.Generator) -> None:
        self.train, self.generator = train, generator

    def __iter__(self) -> Iterator[Tensor]:
        return (batch.images for batch in self.train.batches(4, self.generator))


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    return [LightningAutoEncoder]
