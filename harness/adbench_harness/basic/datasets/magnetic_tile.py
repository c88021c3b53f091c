"""Magnetic tile defects: grey images of one surface, any size, with masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from adbench_harness.datasets import draw, layout
from adbench_harness.datasets.official import DefectCounts, Published
from adbench_harness.errors import UserError
from adbench_harness.types import GOOD, Archive, Sample

CATEGORY = "magnetic_tile"
FREE = "MT_Free"
DEFECTS = ("blowhole", "break", "crack", "fray", "uneven")


class MagneticTile(Published):
    """``<stem>.jpg`` and its mask ``<stem>.png`` in ``root/MT_<type>/Imgs``, or one folder deeper.

    There is no official split: papers train on 80% (761) of the 952 defect-free tiles, drawn at
    random. DifferNet published its own list, ``mtd_train_filenames.txt``, which ``train_list``
    reads. Four uneven tiles have an empty mask: they count as anomalous without anomalous pixels.
    """

    name: ClassVar[str] = "mtd"
    summary: ClassVar[str] = "Magnetic tile defects: 952 good and 392 defective tiles, with masks"
    paper: ClassVar[str | None] = (
        "Huang, Qiu and Yuan: Surface defect saliency of magnetic tile, The Visual Computer 2020"
    )
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = "none stated"
    page: ClassVar[str] = "https://github.com/abin24/Magnetic-tile-defect-datasets."
    # A commit's archive has fixed content, but its bytes may change, so there is no checksum.
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://github.com/abin24/Magnetic-tile-defect-datasets./archive/"
            "cc4eb530b57b9cb7225bf76023873043ffd50655.zip",
            file="Magnetic-tile-defect-datasets.zip",
        ),
    )
    mask_threshold: int | None = 127
    official_counts: ClassVar[Mapping[str, DefectCounts]] = {
        CATEGORY: DefectCounts(
            {GOOD: 952, "blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103}
        )
    }
    empty_masks: ClassVar[Mapping[str, int]] = {CATEGORY: 4}

    def __init__(
        self,
        *,
        train_list: Annotated[
            str, "file with the names of the training images, one per line; relative to the data"
        ] = "",
    ) -> None:
        self.train_list = train_list

    def categories(self, root: Path) -> list[str]:
        """The only category; raises UserError if a folder is missing."""
        self._home(root)
        return [CATEGORY]

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """Free tiles, split by ``train_list`` or ``split_seed``, then the defective ones.

        The masks of free (defect-free) tiles are not read. Raises UserError for a list that names
        another file and for a defective tile without a mask.
        """
        home = self._home(root)
        layout.check_category(category, [CATEGORY], self.name, root)
        free = _tiles(home / FREE)
        if self.train_list:
            train = self._listed(root, free)
        else:
            train = set(draw.drawn((tile.stem for tile in free), split_seed)[: len(free) * 4 // 5])
        found = [Sample(tile, "train" if tile.stem in train else "test", 0) for tile in free]
        for defect in DEFECTS:
            for tile in _tiles(home / f"MT_{defect.capitalize()}"):
                mask = tile.with_suffix(".png")
                if not mask.is_file():
                    raise UserError(
                        f"'{tile}': its mask '{mask.name}' is missing; "
                        f"{layout.how_to_get(self.name)}"
                    )
                found.append(Sample(tile, "test", 1, (mask,), defect))
        return found

    def _home(self, root: Path) -> Path:
        home = layout.home(root, lambda folder: (folder / FREE).is_dir())
        for name in (FREE, *(f"MT_{defect.capitalize()}" for defect in DEFECTS)):
            if not _tiles(home / name):
                raise UserError(
                    f"'{home}': expected images in {name}/Imgs, found none; "
                    f"{layout.how_to_get(self.name)}"
                )
        return home

    def _listed(self, root: Path, free: Sequence[Path]) -> set[str]:
        file = root / self.train_list
        try:
            names = file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.name}: train_list '{file}' cannot be read: {error}") from None
        if not names:
            raise UserError(f"{self.name}: train_list '{file}' names no image; correct the list")
        stems = {tile.name: tile.stem for tile in free}
        for name in names:
            if name not in stems:
                raise UserError(
                    f"{self.name}: train_list '{file}' names '{name}', not in {FREE}/Imgs; "
                    "correct the list"
                )
        return {stems[name] for name in names}


def _tiles(folder: Path) -> list[Path]:
    return [path for path in layout.images(folder / "Imgs") if path.suffix.lower() != ".png"]
