"""DTD, a data set of textures for pseudo-anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from adbench_harness.datasets import layout
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
        found = [folder.name for folder in layout.folders(_home(root)) if layout.images(folder)]
        if not found:
            raise UserError(
                f"'{root}': expected images/<texture>/*.jpg; {layout.how_to_get(self.name)}"
            )
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        """The texture's images, all in train; ``split_seed`` has no effect."""
        return [Sample(image, "train", None) for image in layout.images(_home(root) / category)]


def _home(root: Path) -> Path:
    return layout.home(root, lambda folder: (folder / "images").is_dir()) / "images"
