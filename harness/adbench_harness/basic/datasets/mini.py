"""The embedded data set: images that need no download."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from adbench_harness.basic import mini
from adbench_harness.datasets import layout
from adbench_harness.types import Dataset, Sample


class Mini(Dataset):
    """Three photographed textures and two drawn objects, built once into the cache."""

    name: ClassVar[str] = "mini"
    summary: ClassVar[str] = "Embedded: 3 photographed textures and 2 drawn objects, with masks"
    version: ClassVar[int] = mini.VERSION
    license: ClassVar[str] = "Apache-2.0; the photographs are scikit-image's (CC0)"

    def build(self, root: Path) -> Path:
        """Draw the images into a folder of ``root`` if they are missing; return the folder."""
        return mini.build(root)

    def categories(self, root: Path) -> list[str]:
        """The five categories."""
        return list(mini.CATEGORIES)

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples in the data set's own split."""
        layout.check_category(category, mini.CATEGORIES, self.name, root)
        return layout.samples(root / category, f"remove '{root}' to build it again")
