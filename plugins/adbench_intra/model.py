"""InTra: a transformer inpaints each patch of an image from a window of patches around it.

Pirnay, Chai, "Inpainting Transformer for Anomaly Detection", arXiv 2104.13897. What is known of the
settings comes from a re-implementation and from memory; see README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss, pixel_shuffle, pixel_unshuffle

from adbench_harness.nn.gms import msgms
from adbench_harness.nn.inputs import Size
from adbench_harness.nn.ssim import WINDOW as SSIM_WINDOW
from adbench_harness.nn.ssim import ssim
from adbench_harness.nn.training import BatchSize, Repeated, Samples, drawn_from, train_epochs
from adbench_harness.types import (
    Batch,
    InputSpec,
    Model,
    Outputs,
    Reconstruction,
    Tools,
    TrainSet,
    written,
)
from adbench_intra.network import InpaintingTransformer

SCALES = 3
"""Those of MSGMS in the loss."""
LATE, SLOWER = 2 / 3, 0.1
"""After this share of the epochs, the learning rate is multiplied by the second number."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 40, "samples": 1000, "batch": 8, "width": 64, "blocks": 2, "heads": 4,
             "size": 192, "learning_rate": 1e-3},
    "paper": {},
    "smoke": {"epochs": 4, "batch": 4, "window": 3, "width": 64, "blocks": 2, "heads": 2,
              "size": 64, "learning_rate": 1e-3},
}  # fmt: skip


class InTra(Model):
    """The input, and its patches, each inpainted without having been seen."""

    name: ClassVar[str] = "intra"
    summary: ClassVar[str] = "A transformer that inpaints each patch from those around it."
    paper: ClassVar[str | None] = (
        "Pirnay, Chai, Inpainting Transformer for Anomaly Detection, arXiv 2104.13897"
    )
    version: ClassVar[int] = 1
    emits: frozenset[type] = frozenset({Reconstruction})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = PRESETS["smoke"]
    xfail: ClassVar[Mapping[str, str]] = {
        "planted_blob_scores_above_normal": "the smoke preset's few steps are too few to learn"
    }

    def __init__(
        self,
        *,
        epochs: Annotated[int, Field(ge=0, description="epochs, each of so many samples")] = 2000,
        samples: Samples = 1,
        batch: BatchSize = 256,
        patch: Annotated[
            int, Field(ge=SSIM_WINDOW, description="side of a patch in px")
        ] = 16,
        window: Annotated[
            int, Field(ge=2, description="side of a window in patches, at most the image's")
        ] = 7,
        width: Annotated[int, Field(ge=2, description="length of a token")] = 512,
        blocks: Annotated[int, Field(ge=1, description="transformer blocks")] = 13,
        heads: Annotated[int, Field(ge=1, description="heads of each attention")] = 8,
        weight: Annotated[
            float, Field(ge=0, description="weight of MSGMS and of SSIM in the loss")
        ] = 0.01,
        learning_rate: Annotated[float, Field(gt=0, description="Adam's")] = 1e-4,
        size: Size = 256,
    ) -> None:  # fmt: skip
        self.input = InputSpec(size, None, "squash")
        if any(side % patch or side < 2 * patch for side in self.input.size):
            raise ValueError(
                f"size must be a multiple of the patch, {patch} px, and more than one on both "
                f"sides, not {written(size)}"
            )
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of {2 * heads}, twice the heads")
        self.epochs = epochs
        self.samples = samples
        self.batch = batch
        self.patch = patch
        self.grid = (self.input.size[0] // patch, self.input.size[1] // patch)
        self.window = (min(window, self.grid[0]), min(window, self.grid[1]))
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.weight = weight
        self.learning_rate = learning_rate

    def fit(self, train: TrainSet, tools: Tools) -> InTra:
        """Train the network on one window of each image, at a random place."""
        with drawn_from(tools.generator):
            self.rebuild({}, tools)

        def loss_of(batch: Batch) -> Tensor:
            patches = self._patches(batch.images)
            places, hidden = self._random_windows(len(batch), tools.generator)
            places, hidden = places.to(patches.device), hidden.to(patches.device)
            windows = patches.gather(1, places[..., None].expand(-1, -1, patches.shape[2]))
            truth = windows[torch.arange(len(windows)), hidden]
            return self.loss(self.network(windows, places, hidden), truth)

        train_epochs(
            loss_of,
            {"network": self.network},
            torch.optim.Adam(self.network.parameters(), self.learning_rate, weight_decay=1e-5),
            Repeated(train, self.samples),
            tools,
            epochs=self.epochs,
            batch=self.batch,
            rate=lambda done: 1 if done < LATE * self.epochs else SLOWER,
        )
        return self

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The network with random weights."""
        self.network = InpaintingTransformer(
            self.grid[0] * self.grid[1], 3 * self.patch**2, self.width, self.blocks, self.heads
        ).to(tools.device)

    def predict(self, batch: Batch) -> Outputs:
        """The images, and all their patches inpainted."""
        size = (batch.images.shape[2], batch.images.shape[3])
        with torch.no_grad():
            patches = self._patches(batch.images)
            made = torch.stack([self._inpainted(each) for each in patches])
        grid = made.transpose(1, 2).reshape(len(made), -1, *self.grid)
        return Outputs(size, Reconstruction(batch.images, (pixel_shuffle(grid, self.patch),)))

    def loss(self, made: Tensor, patches: Tensor) -> Tensor:
        """Squared error + weight * (1 - MSGMS + 1 - SSIM) of patches [B, 3 * side^2]."""
        one, other = (values.view(-1, 3, self.patch, self.patch) for values in (made, patches))
        dissimilarity = 2 - msgms(one, other, SCALES) - ssim(one, other)
        return mse_loss(made, patches) + self.weight * dissimilarity.mean()

    def _patches(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] as patches [B, rows * columns, 3 * side^2]."""
        return pixel_unshuffle(images, self.patch).flatten(2).transpose(1, 2)

    def _inpainted(self, patches: Tensor) -> Tensor:
        """All patches [N, V] of an image, each inpainted from the window around it."""
        places, hidden = (each.to(patches.device) for each in self.windows())
        made: Tensor = self.network(patches[places], places, hidden)
        return made

    def windows(self) -> tuple[Tensor, Tensor]:
        """For each patch: the window whose centre it is, as near as the border allows.

        Returns the places [N, T] in the image, and which one of the window the patch is [N].
        """
        rows, columns = torch.meshgrid(*map(torch.arange, self.grid), indexing="ij")
        corners = [
            (index - side // 2).clamp(0, whole - side).flatten()
            for index, side, whole in zip((rows, columns), self.window, self.grid, strict=True)
        ]
        places = self._places(*corners)
        hidden = (places == torch.arange(len(places))[:, None]).int().argmax(1)
        return places, hidden

    def _random_windows(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As many windows at random places, and a random patch of each."""
        corners = [
            torch.randint(whole - side + 1, (count,), generator=generator)
            for side, whole in zip(self.window, self.grid, strict=True)
        ]
        hidden = torch.randint(self.window[0] * self.window[1], (count,), generator=generator)
        return self._places(*corners), hidden

    def _places(self, tops: Tensor, lefts: Tensor) -> Tensor:
        """The places [N, T] of the patches of windows, by their first row and column [N]."""
        rows = tops[:, None, None] + torch.arange(self.window[0])[:, None]
        columns = lefts[:, None, None] + torch.arange(self.window[1])
        return (rows * self.grid[1] + columns).flatten(1)
