"""Base class of data sets with published categories, split and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from adbench_harness.datasets import layout
from adbench_harness.errors import UserError
from adbench_harness.types import Dataset, Sample

NON_COMMERCIAL = "CC BY-NC-SA 4.0"


class SplitCounts(NamedTuple):
    """Numbers of images in train, test and validation, and of defect types in test."""

    train: int
    good: int
    defective: int
    defect_types: int
    validation: int = 0

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SplitCounts:
        """The counts of ``samples``."""
        test = [sample for sample in samples if sample.split == "test"]
        defects = [sample.defect for sample in test if sample.label]
        train, validation = (
            sum(sample.split == split for sample in samples) for split in ("train", "validation")
        )
        good = len(test) - len(defects)
        return cls(train, good, len(defects), len(set(defects)), validation)

    @property
    def images(self) -> int:
        """The total number of images."""
        return self.train + self.validation + self.good + self.defective

    def __str__(self) -> str:
        validation = f"{self.validation} validation, " * bool(self.validation)
        return (
            f"{self.train} train, {validation}{self.good} good and {self.defective} defective test "
            f"images of {self.defect_types} type{'s' * (self.defect_types != 1)}"
        )


class Official(Dataset):
    """``root/<category>``, or one folder deeper, in the layout of ``layout.samples``."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = NON_COMMERCIAL
    folder_names: ClassVar[layout.Names] = layout.MVTEC
    official_counts: ClassVar[Mapping[str, SplitCounts]]

    def categories(self, root: Path) -> list[str]:
        """The official categories under ``root``; raises UserError if there are none."""
        home = self.home(root)
        found = [name for name in self.official_counts if (home / name).is_dir()]
        if not found:
            first = root / next(iter(self.official_counts))
            raise UserError(
                f"'{root}' has no category of {self.name}, such as '{first}'; "
                f"{layout.how_to_get(self.name)}"
            )
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples in the split of the folders; ``split_seed`` has no effect."""
        layout.check_category(category, self.categories(root), self.name, root)
        folder = self.home(root) / category
        return layout.samples(folder, layout.how_to_get(self.name), self.folder_names)

    def published(self) -> dict[str, int]:
        """The number of images by category."""
        return {name: counts.images for name, counts in self.official_counts.items()}

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """A description of how the counts differ from the official ones; None if they agree."""
        found, official = SplitCounts.of(samples), self.official_counts[category]
        return None if found == official else f"{found}; the official split has {official}"

    def home(self, root: Path) -> Path:
        """The folder with the categories."""
        return layout.home(
            root, lambda folder: any((folder / name).is_dir() for name in self.official_counts)
        )
