"""DTD, a data set of textures for pseudo-anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from adbench_harness.errors import UserError
from adbench_harness.types import Archive, Dataset, Sample


class DescribableTextures(Dataset):
    """``root/images/<category>/*.jpg``, or one folder deeper, as in the archive; 47 categories.

    Its own splits and labels are not used.
    """

    name: ClassVar[str] = "dtd"
    summary: ClassVar[str] = "Describable Textures, a source of pseudo-anomalies"
    paper: ClassVar[str | None] = (
        "Cimpoi, Maji, Kokkinos, Mohamed and Vedaldi: Describing textures in the wild, CVPR 2014"
    )
    version: ClassVar[int] = 1
    license: ClassVar[str] = "research only"
    page: ClassVar[str] = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    role: ClassVar[Literal["benchmark", "auxiliary"]] = "auxiliary"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            md5="fff73e5086ae6bdbea199a49dfb8a4c1",
        ),
    )

    def categories(self, root: Path) -> Sequence[str]:
        """The textures' names; raises UserError if there are none."""
        found = sorted({image.parent.name for image in _images(root).glob("*/*.jpg")})
        if not found:
            raise UserError(
                f"'{root}': expected images/<texture>/*.jpg; run 'adbench data fetch {self.name}' "
                f"or name its folder with --data {self.name}=DIR"
            )
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        """The texture's images, all in train; ``split_seed`` has no effect."""
        images = sorted((_images(root) / category).glob("*.jpg"))
        return [Sample(image, "train", None) for image in images]


def _images(root: Path) -> Path:
    deeper = root / "dtd" / "images"
    return deeper if deeper.is_dir() else root / "images"
