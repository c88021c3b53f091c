"""DAGM 2007: ten drawn textures, defects marked by ellipses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from adbench_harness.datasets import layout
from adbench_harness.datasets.official import Published
from adbench_harness.errors import UserError
from adbench_harness.types import GOOD, SPLITS, Archive, Sample


class ClassCounts(NamedTuple):
    """The numbers of training and test images, and of the defective images in both."""

    train: int
    test: int
    defective: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> ClassCounts:
        """The counts of ``samples``."""
        train = sum(sample.split == "train" for sample in samples)
        return cls(train, len(samples) - train, sum(sample.label == 1 for sample in samples))

    @property
    def images(self) -> int:
        """The number of all images."""
        return self.train + self.test

    def __str__(self) -> str:
        return f"{self.train} train and {self.test} test images, {self.defective} of them defective"


class DAGM(Published):
    """``root/Class<n>/{Train,Test}/<id>.PNG``; a defective image has ``Label/<id>_label.PNG``.

    Some training images are defective: an unsupervised run leaves them out. The ellipses are larger
    than the defects, so pixel metrics are not comparable with those of precise masks.
    """

    name: ClassVar[str] = "dagm"
    summary: ClassVar[str] = "DAGM 2007: 10 drawn textures, defects marked by ellipses"
    paper: ClassVar[str | None] = (
        "Wieler, Hahn and Hamprecht: Weakly supervised learning for industrial optical inspection, "
        "DAGM 2007, doi:10.5281/zenodo.8086136"
    )
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = "CC BY 4.0"
    page: ClassVar[str] = "https://zenodo.org/records/8086136"
    archives: ClassVar[tuple[Archive, ...]] = tuple(
        Archive(f"https://zenodo.org/records/8086136/files/Class{number}.zip")
        for number in range(1, 11)
    )
    official_counts: ClassVar[Mapping[str, ClassCounts]] = {
        f"Class{number}": ClassCounts(575, 575, 150)
        if number <= 6
        else ClassCounts(1150, 1150, 300)
        for number in range(1, 11)
    }

    def categories(self, root: Path) -> list[str]:
        """The classes under ``root``; raises UserError if there are none."""
        found = [name for name in self.official_counts if (_folder(root, name) / "Train").is_dir()]
        if not found:
            raise UserError(
                f"'{root}' has no class of DAGM 2007, such as '{root / 'Class1'}', with Train and "
                f"Test in it; {layout.how_to_get(self.name)}"
            )
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples of the official split, train first; ``split_seed`` changes nothing."""
        layout.check_category(category, self.categories(root), self.name, root)
        found = []
        for split in SPLITS:
            folder = _folder(root, category) / split.capitalize()
            masks = {mask.stem: mask for mask in layout.images(folder / "Label")}
            for image in layout.images(folder):
                mask = masks.get(f"{image.stem}_label")
                found.append(
                    Sample(image, split, 1, (mask,), "defect")
                    if mask
                    else Sample(image, split, 0, (), GOOD)
                )
        layout.check_splits(found, _folder(root, category), layout.how_to_get(self.name))
        return found


def _folder(root: Path, name: str) -> Path:
    """The class's folder, which may be in a folder of its own name or of the archive's."""
    home = layout.home(root, lambda folder: (folder / name).is_dir())
    return layout.home(home / name, lambda folder: (folder / "Train").is_dir())
