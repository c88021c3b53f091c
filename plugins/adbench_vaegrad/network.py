"""A variational auto-encoder of images (Kingma and Welling, ICLR 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench_harness.nn.bottleneck import decoder, encoder


class VAE(nn.Module):
    """Images [B, 3, H, W] of ``size`` (H, W) as normal distributions of vectors, and back."""

    def __init__(self, size: tuple[int, int], latent: int) -> None:
        super().__init__()
        self.encode = encoder(size, 2 * latent)
        self.decode = decoder(size, latent)

    def forward(self, images: Tensor) -> Tensor:
        """The reconstructions [B, 3, H, W] from the means of the vectors."""
        mean, _ = self.encode(images).chunk(2, 1)
        made: Tensor = self.decode(mean)
        return made

    def bound(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The negative evidence lower bound [B], with one vector drawn for each image.

        Pixels are normal with variance 1/2, so that their part is the squared error (a sum).
        """
        mean, log_variance = self.encode(images).chunk(2, 1)
        # Drawn on the CPU, so that every device gets the same noise.
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        made = self.decode(mean + (0.5 * log_variance).exp() * noise)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        bound: Tensor = squared_error(images, made) + divergence.flatten(1).sum(1)
        return bound


def squared_error(images: Tensor, made: Tensor) -> Tensor:
    """The reconstruction loss [B]: the sum of the pixels' squared differences."""
    return (images - made).square().flatten(1).sum(1)
