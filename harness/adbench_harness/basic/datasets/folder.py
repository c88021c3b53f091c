"""Your own images, in folders with the layout of MVTec AD or listed in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from adbench_harness.datasets import draw, layout, table
from adbench_harness.errors import UserError, printable
from adbench_harness.images import survey
from adbench_harness.types import SPLITS, Dataset, Sample

NEXT_STEP = "correct it, or name another folder with --data folder=DIR"
NAMES = layout.Names(
    train=("train", "training"),
    test=("test", "testing"),
    validation=("validation", "val", "valid"),
    truth=("ground_truth", "groundtruth", "gt", "masks", "mask"),
    good=("good", "ok", "normal"),
)


class Folder(Dataset):
    """``root/<category>``, or ``root`` itself as one category, in the layout of ``layout.samples``.

    Normal images may also be called ``ok`` or ``normal``. Folders ``good`` and ``<defect>`` without
    train and test are split at random if ``split`` says how. A ``table``, in the format of
    ``table.samples``, replaces the folders.
    """

    name: ClassVar[str] = "folder"
    summary: ClassVar[str] = "Your own images, in folders or listed in a CSV table"
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = "yours"
    younger: ClassVar[frozenset[str]] = frozenset({"split", "depth", "mask_threshold"})

    def __init__(
        self,
        *,
        table: Annotated[
            str,
            "CSV file, relative to the data, with columns path, split, label and optionally mask, "
            "defect, category, group",
        ] = "",
        split: Annotated[
            float, "share of the normal images to train on, drawn at random (0: they are split)"
        ] = 0.0,
        depth: Annotated[
            int | None,
            "bits of the values in files of 16 bits (none: as few as hold the training images')",
        ] = None,
        mask_threshold: Annotated[
            int | None,
            "a pixel of a mask above it is a defect (none: the middle of the mask's own values)",
        ] = None,
    ) -> None:
        if not 0 <= split < 1:
            raise ValueError(f"split must be from 0 to 1, not {split}")
        if depth is not None and not 8 <= depth <= 16:
            raise ValueError(f"depth must be from 8 to 16 bits, not {depth}")
        if mask_threshold is not None and not 0 <= mask_threshold < 2**16 - 1:
            raise ValueError(f"mask_threshold must be from 0 to 65534, not {mask_threshold}")
        self.table = table
        self.split = split
        self.depth = depth
        self.mask_threshold = mask_threshold

    def categories(self, root: Path) -> list[str]:
        """The categories by name; raises UserError if there are none."""
        return table.categories(root / self.table) if self.table else list(self._folders(root))

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples as folders or table split them; ``split_seed`` draws where they do not."""
        if self.table:
            found = table.samples(root / self.table, root, category, split=not self.split)
            return self._drawn(root, found, split_seed) if self.split else found
        folders = self._folders(root)
        layout.check_category(category, list(folders), self.name, root)
        folder = folders[category]
        if not self.split:
            return layout.samples(folder, NEXT_STEP, NAMES)
        if layout.is_split(folder, NAMES):
            raise UserError(
                f"'{folder}' is split by its folders already; leave split={self.split} out"
            )
        return self._drawn(root, layout.unsplit(folder, NAMES), split_seed)

    def notes(self, root: Path, category: str, samples: Sequence[Sample]) -> list[str]:
        """Files or columns that were left out, and masks of normal images that mark a defect."""
        if self.table:
            file = root / self.table
            truth = table.masks_of_normals(file, root, category)
            left_out = table.notes(file)
            if category == table.categories(file)[0]:  # it is said once
                left_out += layout.unlisted(root, table.files(file, root))
        else:
            folders = self._folders(root)
            folder = folders[category]
            truth = layout.masks_of_normals(folder, NAMES)
            known = [mask for masks in truth.values() for mask in masks]
            left_out = layout.left_out(folder, samples, known) + layout.empty(folder, NAMES)
            if folder != root and category == next(iter(folders)):  # it is said once
                left_out += layout.beside(root, folders.values())
        return [*left_out, *survey.contradicted(truth, self.mask_threshold)]

    def _drawn(self, root: Path, samples: list[Sample], split_seed: int) -> list[Sample]:
        found = draw.normals(root, samples, split_seed, self.split)
        layout.check_splits(found, root, f"split={self.split} of {len(samples)} images leaves none")
        return sorted(found, key=lambda sample: SPLITS.index(sample.split))

    def _folders(self, root: Path) -> dict[str, Path]:
        """The categories' folders: ``root`` itself, or those in it."""
        if self._is_category(root):
            return {printable(root.resolve().name): root}
        found = [folder for folder in layout.folders(root) if self._is_category(folder)]
        layout.check_capitals(root, found)
        if found:
            return {printable(folder.name): folder for folder in found}
        for folder in (root, *layout.folders(root)):
            if layout.is_unsplit(folder, NAMES):
                raise UserError(
                    f"'{folder}' has normal images, but no train and test; add split=0.8 to train "
                    "on 80% of them, drawn at random (folder:split=0.8)"
                )
        if self.split:
            raise UserError(
                f"'{root}': expected good (or ok or normal) beside folders of defects, "
                f"in it or in each folder of it; {NEXT_STEP}"
            )
        raise UserError(
            f"'{root}': expected train/good and test, in it or in each folder of it; {NEXT_STEP}"
        )

    def _is_category(self, folder: Path) -> bool:
        return layout.is_split(folder, NAMES) or (
            bool(self.split) and layout.is_unsplit(folder, NAMES)
        )
