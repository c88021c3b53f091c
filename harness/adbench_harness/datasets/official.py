"""Base classes of data sets with published categories and counts, and perhaps a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from adbench_harness.datasets import layout
from adbench_harness.errors import UserError
from adbench_harness.types import GOOD, Dataset, Sample

NON_COMMERCIAL = "CC BY-NC-SA 4.0"


class PublishedCounts(Protocol):
    """Counts of a category's samples, which can be compared and printed."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> PublishedCounts:
        """The counts of ``samples``."""
        ...

    @property
    def images(self) -> int:
        """All of them."""
        ...


class SplitCounts(NamedTuple):
    """Numbers of images in train, test and validation, and of defect types in test.

    ``train`` counts all training images; ``defective_train`` of them are defective.
    """

    train: int
    good: int
    defective: int
    defect_types: int
    validation: int = 0
    defective_train: int = 0

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SplitCounts:
        """The counts of ``samples``."""
        splits = Counter(sample.split for sample in samples)
        defective = Counter(sample.split for sample in samples if sample.label)
        types = {sample.defect for sample in samples if sample.split == "test" and sample.label}
        return cls(
            splits["train"],
            sum(sample.split == "test" and sample.label == 0 for sample in samples),
            defective["test"],
            len(types),
            splits["validation"],
            defective["train"],
        )

    @property
    def images(self) -> int:
        """The total number of images."""
        return self.train + self.validation + self.good + self.defective

    def __str__(self) -> str:
        train = f" ({self.defective_train} of them defective)" * bool(self.defective_train)
        validation = f"{self.validation} validation, " * bool(self.validation)
        return (
            f"{self.train} train{train}, {validation}{self.good} good and {self.defective} "
            f"defective test images of {self.defect_types} type{'s' * (self.defect_types != 1)}"
        )


class DefectCounts(dict[str, int]):
    """Numbers of images by defect type, ``good`` included, of a data set without a split."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> DefectCounts:
        """The counts of ``samples``."""
        return cls(Counter(sample.defect for sample in samples))

    @property
    def images(self) -> int:
        """All of them."""
        return sum(self.values())

    def __str__(self) -> str:
        defects = sorted(self, key=lambda defect: (defect != GOOD, defect))
        return ", ".join(f"{self[defect]} {defect}" for defect in defects)


class Published(Dataset):
    """A data set whose authors published how many images each category has."""

    official_counts: ClassVar[Mapping[str, PublishedCounts]]
    has_masks: ClassVar[bool] = True
    """Whether every defective test image was published with a mask."""

    def published(self) -> dict[str, int]:
        """The number of images by category."""
        return {name: counts.images for name, counts in self.official_counts.items()}

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """A description of how the counts differ from the published ones; None if they agree."""
        official = self.official_counts[category]
        found = type(official).of(samples)
        if found != official:
            return f"{found}; published are {official}"
        defective = [sample for sample in samples if sample.split == "test" and sample.label]
        bare = sum(not sample.masks for sample in defective)
        if self.has_masks and bare:
            return f"{bare} of {len(defective)} defective test images have no mask"
        return None


class Official(Published):
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
        found = [name for name in self.official_counts if layout.named(home, name)]
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
        folder = self.folder(root, category)
        return layout.samples(folder, layout.how_to_get(self.name), self.folder_names)

    def notes(self, root: Path, category: str, samples: Sequence[Sample]) -> list[str]:
        """Images beside the categories' folders, which are said with the first category."""
        first, *others = self.categories(root)
        if category != first:
            return []
        return layout.beside(self.home(root), [self.folder(root, n) for n in (first, *others)])

    def folder(self, root: Path, category: str) -> Path:
        """The folder of a category, in any capitals."""
        home = self.home(root)
        return layout.named(home, category) or home / category

    def home(self, root: Path) -> Path:
        """The folder with the categories."""
        return layout.home(
            root, lambda folder: any(layout.named(folder, name) for name in self.official_counts)
        )
