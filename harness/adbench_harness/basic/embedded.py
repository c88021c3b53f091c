"""The embedded backbone: fixed wavelet filters, for runs without a network or weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS: Final = ("layer1", "layer2", "layer3")
ORIENTATIONS: Final = 4
FLOOR: Final = 0.01
NOISE: Final = 0.015
OPPONENT: Final = ((1 / 3, 1 / 3, 1 / 3), (1 / 2, -1 / 2, 0.0), (1 / 4, 1 / 4, -1 / 2))


class EmbeddedNet(nn.Module):
    """Two orders of wavelet scattering on a colour-opponent pyramid; nothing in it is learned.

    Float32 RGB [B, 3, H, W] in [0, 1] -> the requested ``layers``: ``layer1`` [B, 79, H/4, W/4],
    ``layer2`` [B, 123, H/8, W/8], ``layer3`` [B, 167, H/16, W/16], sizes rounded up as in a
    ResNet. One Morlet filter bank runs at every octave of luminance, red-green and blue-yellow;
    its moduli are averaged down to each grid, and those of luminance from the two octaves below are
    filtered once more (Bruna and Mallat, Invariant Scattering Convolution Networks, 2013).
    Responses are divided by the energy of their neighbourhood, so that lighting matters less. The
    logarithms of the averages are used, so that weak and strong textures have similar weight. Every
    channel has mean 0 and standard deviation 1 over pink noise, whose spectrum resembles that of
    natural images.
    """

    version = "1"

    def __init__(self, layers: Sequence[str] = LAYERS) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.register_buffer("opponent", torch.tensor(OPPONENT)[:, :, None, None])
        self.register_buffer("wavelets", _morlet())
        binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("binomial", torch.outer(binomial, binomial)[None, None])
        for name, grid in self._scatter(_pink()).items():
            self.register_buffer(f"{name}_mean", grid.mean((0, 2, 3), keepdim=True))
            self.register_buffer(f"{name}_std", grid.std((0, 2, 3), keepdim=True))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        grids = self._scatter(images)
        return {
            name: (grids[name] - self.get_buffer(f"{name}_mean")) / self.get_buffer(f"{name}_std")
            for name in self.layers
        }

    def _scatter(self, images: Tensor) -> dict[str, Tensor]:
        colour = functional.conv2d(images, self.get_buffer("opponent"))
        first: list[Tensor] = []
        second: list[Tensor] = []
        grids = {}
        for octave in range(len(LAYERS) + 2):
            second += [self._modulus(u[:, :ORIENTATIONS]) for u in first[-2:]]
            # Images from cameras and JPEG files have no colour at the finest octave.
            modulus = self._modulus(colour if octave else colour[:, :1])
            first.append(modulus / _strength(modulus))
            if octave >= 2:
                moduli = torch.cat([*first, *second], 1)
                grids[LAYERS[octave - 2]] = torch.cat([colour, torch.log(moduli + FLOOR)], 1)
            first = [_halve(u) for u in first]
            second = [_halve(u) for u in second]
            colour = _each(colour, self.get_buffer("binomial"), stride=2)
        return grids

    def _modulus(self, maps: Tensor) -> Tensor:
        response = _each(maps, self.get_buffer("wavelets"))
        return torch.hypot(response[:, 0::2], response[:, 1::2])


def _strength(modulus: Tensor) -> Tensor:
    """Root mean square over all bands and 9 x 9 cells, at least the level of sensor noise."""
    power = (modulus * modulus).mean(1, keepdim=True)
    power = functional.avg_pool2d(power, 9, stride=1, padding=4, count_include_pad=False)
    return torch.sqrt(power + NOISE**2)


def _morlet(size: int = 7, frequency: float = 3 * math.pi / 4, sigma: float = 1.0) -> Tensor:
    """Even and odd parts of a Morlet wavelet for each orientation, [8, 1, size, size]."""
    y, x = np.mgrid[:size, :size] - size // 2
    filters = []
    for angle in np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle)
        envelope = np.exp(-(along**2 + across**2 / 4) / (2 * sigma**2))
        wave = np.exp(1j * frequency * along)
        wavelet = envelope * (wave - (envelope * wave).sum() / envelope.sum())
        wavelet /= np.abs(wavelet).sum()
        filters += [wavelet.real, wavelet.imag]
    return torch.from_numpy(np.stack(filters)[:, None]).float()


def _pink(size: int = 128, count: int = 4) -> Tensor:
    """Images of 1/f noise around grey, the same on every machine, [count, 3, size, size]."""
    # numpy guarantees that PCG64's stream is stable; torch gives no such guarantee.
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((count, 3, size, size))
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(frequency[:, None], frequency)
    radius[0, 0] = np.inf
    pink = np.fft.ifft2(np.fft.fft2(noise) / radius).real
    pink /= pink.std((2, 3), keepdims=True)
    # Luminance varies most; red-green and blue-yellow vary a quarter as much.
    colour = np.array([[1.0, 0.25, 0.1], [1.0, -0.25, 0.1], [1.0, 0.0, -0.3]])
    images = 0.5 + 0.18 * np.einsum("ij,njhw->nihw", colour, pink)
    return torch.from_numpy(images.clip(0, 1)).float()


def _each(maps: Tensor, kernels: Tensor, stride: int = 1) -> Tensor:
    """Every channel by every kernel, edges repeated: [B, C, h, w] -> [B, C x kernels, ...]."""
    margin = (kernels.shape[-1] // 2,) * 4
    single = functional.pad(maps.flatten(0, 1)[:, None], margin, mode="replicate")
    filtered = functional.conv2d(single, kernels, stride=stride)
    return filtered.reshape(len(maps), -1, *filtered.shape[-2:])


def _halve(maps: Tensor) -> Tensor:
    return functional.avg_pool2d(maps, 3, stride=2, padding=1, count_include_pad=False)
