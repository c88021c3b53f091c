"""Split the normal training images of a category into a data set to choose settings on.

python leaderboards/patchae/held_out.py mvtec_ad/bottle DATA/mvtec_ad HELD_OUT/bottle

Three quarters of the images are for training. The others are for testing: half of them as they are,
half with pseudo-anomalies (``perlin``, ``superpixel`` and ``patchgrid`` in turn, which Patch AE's
own training does not draw). No test image of the data set is read. The split is that of seed 0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from adbench_harness.planning import grammar, parameters, plugins
from adbench_harness.types import Batch
from adbench_patchgrid.augmenter import PatchGrid
from adbench_twostage.augmenters import Perlin, Superpixel

SIZE = 256
MOST = 240
"""Images that are used, so that a grid of settings stays affordable."""


def main(name: str, root: Path, out: Path) -> None:
    """Write the folder ``out`` in the layout of MVTec AD, at ``SIZE`` x ``SIZE`` px."""
    images = _normal_images(name, root)
    held = len(images) // 4
    tested, trained = images[:held], images[held:]
    for number, image in enumerate(trained):
        _write(image, out / "train/good" / f"{number:03}.png")
    for number, image in enumerate(tested[held // 2 :]):
        _write(image, out / "test/good" / f"{number:03}.png")
    generator = torch.Generator().manual_seed(0)
    train = _Images(trained)
    tools = SimpleNamespace(device=torch.device("cpu"), generator=generator)
    kinds = [Perlin(p_clean=0), Superpixel(p_clean=0), PatchGrid()]
    for kind in kinds:
        kind.fit(train, tools)  # type: ignore[arg-type]
    for number, image in enumerate(tested[: held // 2]):
        kind = kinds[number % len(kinds)]
        mask = torch.zeros(1)
        while not mask.any():  # a threshold above the noise leaves the image clean
            drawn = kind.augment(Batch(image[None], torch.zeros(1, dtype=torch.long)), generator)
            mask = drawn.masks[0]
        _write(drawn.images[0], out / "test" / kind.name / f"{number:03}.png")
        _write(mask.float(), out / "ground_truth" / kind.name / f"{number:03}_mask.png")


class _Images:
    """A training set of images [B, 3, H, W] that are in memory."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int | None = None, generator: torch.Generator | None = None):  # type: ignore[no-untyped-def]
        for part in torch.arange(len(self)).split(size or 8):
            yield Batch(self.images[part], part)


def _normal_images(name: str, root: Path) -> torch.Tensor:
    """The normal training images of a category, [B, 3, H, W] in [0, 1], in random order."""
    dataset, _, category = name.partition("/")
    catalogue = plugins.load(["twostage"])
    choice = parameters.resolve(catalogue, "dataset", grammar.component(dataset))
    listed = parameters.build(catalogue, "dataset", choice)
    folder = listed.build(root) or root
    samples = listed.samples(folder, category, 0)
    paths = [s.image for s in samples if s.split == "train" and s.label == 0]
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[:MOST]
    return torch.stack([_read(paths[i]) for i in order.tolist()])


def _read(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _write(image: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image * 255).round().byte().numpy()
    Image.fromarray(pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels).save(path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
