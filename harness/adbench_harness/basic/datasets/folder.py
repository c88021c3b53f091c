"""Your own images, in folders with the layout of MVTec AD or listed in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from adbench_harness.datasets import layout, table
from adbench_harness.errors import UserError
from adbench_harness.types import Dataset, Sample

NEXT_STEP = "correct it, or name another folder with --data folder=DIR"


class Folder(Dataset):
    """``root/<category>``, or ``root`` itself as one category, in the layout of ``layout.samples``.

    A ``table``, in the format of ``table.samples``, replaces the folders.
    """

    name: ClassVar[str] = "folder"
    summary: ClassVar[str] = "Your own images, in folders or listed in a CSV table"
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = "yours"

    def __init__(
        self,
        *,
        table: Annotated[
            str,
            "CSV file, relative to the data, with columns path, split, label and optionally mask, "
            "defect, category, group",
        ] = "",
    ) -> None:
        self.table = table

    def categories(self, root: Path) -> list[str]:
        """The categories by name; raises UserError if there are none."""
        return table.categories(root / self.table) if self.table else list(_folders(root))

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples as folders or table split them; ``split_seed`` changes nothing."""
        if self.table:
            return table.samples(root / self.table, root, category)
        folders = _folders(root)
        layout.check_category(category, list(folders), self.name, root)
        return layout.samples(folders[category], NEXT_STEP)


def _folders(root: Path) -> dict[str, Path]:
    """The categories' folders: ``root`` itself, or those in it, with train or test."""
    if _is_category(root):
        return {root.resolve().name: root}
    found = {folder.name: folder for folder in layout.folders(root) if _is_category(folder)}
    if not found:
        raise UserError(
            f"'{root}': expected train/good and test, in it or in each folder of it; {NEXT_STEP}"
        )
    return found


def _is_category(folder: Path) -> bool:
    # One of them is enough, so that a category without the other is reported, not skipped.
    return (folder / "train").is_dir() or (folder / "test").is_dir()
