"""KolektorSDD2: one grey surface, with masks next to the images."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import cv2

from adbench_harness.datasets import layout
from adbench_harness.datasets.official import NON_COMMERCIAL, Published, SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.types import GOOD, SPLITS, Archive, Sample

CATEGORY = "kolektorsdd2"
NEXT_STEP = layout.how_to_get("ksdd2")


class KolektorSDD2(Published):
    """``<id>.png`` and its mask ``<id>_GT.png`` in ``root/train`` and ``root/test``.

    Only the mask tells normal from defective: an image is defective if a pixel of its mask is not
    zero. The data set has no defect types; ``labels`` is your own table of them, a CSV file with
    the columns ``image`` (a file name) and ``defect``. Defective images that are not in the table
    are then left out, since the paper uses only 171 of them.
    """

    name: ClassVar[str] = "ksdd2"
    summary: ClassVar[str] = "KolektorSDD2: 2979 normal and 356 defective surfaces, with masks"
    paper: ClassVar[str | None] = (
        "Bozic, Tabernik and Skocaj: Mixed supervision for surface-defect detection, "
        "Computers in Industry 2021"
    )
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = NON_COMMERCIAL
    page: ClassVar[str] = "https://www.vicos.si/resources/kolektorsdd2/"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://go.vicos.si/kolektorsdd2",
            md5="1ed0f628122776ace4965afa30dfe316",
            file="KolektorSDD2.zip",
        ),
    )
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        CATEGORY: SplitCounts(2331, 894, 110, 1, defective_train=246)
    }

    def __init__(
        self,
        *,
        labels: Annotated[
            str, "CSV file with columns image and defect, relative to the data; none: one type"
        ] = "",
    ) -> None:
        self.labels = labels

    def categories(self, root: Path) -> list[str]:
        """The only category; raises UserError if train or test has no images."""
        _home(root)
        return [CATEGORY]

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples of the official split, train first; ``split_seed`` changes nothing.

        They include defective training images; an unsupervised run leaves these out. Raises
        UserError for an image without a mask and for an invalid table.
        """
        layout.check_category(category, [CATEGORY], self.name, root)
        home = _home(root)
        found = [(split, image) for split in SPLITS for image in _images(home / split)]
        with ThreadPoolExecutor() as pool:
            defective = list(pool.map(_is_defective, (image for _, image in found)))
        samples = [
            Sample(image, split, 1, (_mask(image),), "defect") if shown else Sample(image, split, 0)
            for (split, image), shown in zip(found, defective, strict=True)
        ]
        return self._labelled(root, samples) if self.labels else samples

    def _labelled(self, root: Path, samples: Sequence[Sample]) -> list[Sample]:
        """The normal samples, and the defective ones in the table, with their types."""
        file = root / self.labels
        types = _types(file)
        by_name = {sample.image.name: sample for sample in samples}
        for name in types:
            if name not in by_name or not by_name[name].label:
                what = "is normal" if name in by_name else "is not in the data set"
                raise UserError(f"{self.name}: labels '{file}': '{name}' {what}; correct the table")
        return [
            Sample(s.image, s.split, s.label, s.masks, types.get(s.image.name, GOOD))
            for s in samples
            if not s.label or s.image.name in types
        ]


def _home(root: Path) -> Path:
    home = layout.home(root, lambda folder: (folder / "train").is_dir())
    for split in ("train", "test"):
        if not _images(home / split):
            raise UserError(f"'{home}': expected images in {split}, found none; {NEXT_STEP}")
    return home


def _images(folder: Path) -> list[Path]:
    """The images in ``folder`` by name, without masks and hidden files."""
    return [path for path in layout.images(folder) if not path.stem.endswith("_GT")]


def _mask(image: Path) -> Path:
    return image.with_name(f"{image.stem}_GT.png")


def _is_defective(image: Path) -> bool:
    mask = _mask(image)
    if not mask.is_file():
        raise UserError(f"'{image}': its mask '{mask.name}' is missing; {NEXT_STEP}")
    return _has_pixels(mask, mask.stat().st_mtime_ns)


@lru_cache(maxsize=8192)
def _has_pixels(mask: Path, _changed: int) -> bool:
    pixels = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise UserError(f"mask '{mask}' cannot be decoded as an image; {NEXT_STEP}")
    return bool(pixels.any())


def _types(file: Path) -> dict[str, str]:
    """Defect type by file name; raises UserError if the table is invalid."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text, strict=True, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"labels '{file}' cannot be read: {error}; check the file") from None
    types: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        name, defect = ((row.get(column) or "").strip() for column in ("image", "defect"))
        if not name or not defect or defect == GOOD:
            raise UserError(
                f"labels '{file}' line {line}: expected a file name in column 'image' and a type "
                f"other than '{GOOD}' in column 'defect'; correct it"
            )
        if types.setdefault(name, defect) != defect:
            raise UserError(
                f"labels '{file}' line {line}: '{name}' is '{types[name]}' and '{defect}'; keep one"
            )
    if not types:
        raise UserError(f"labels '{file}' names no image; add lines under 'image,defect'")
    return types
