"""KolektorSDD: fifty electrical commutators, eight surfaces of each."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from adbench_harness.datasets import draw, layout
from adbench_harness.datasets.official import NON_COMMERCIAL, DefectCounts, Published
from adbench_harness.errors import UserError
from adbench_harness.images import decoding, folders
from adbench_harness.types import GOOD, Archive, Sample, Split

CATEGORY = "kolektorsdd"


class KolektorSDD(Published):
    """``root/kos<item>/Part<n>.jpg``, or one folder deeper, and its mask ``Part<n>_label.bmp``.

    Only the mask distinguishes normal from defective images: an image is defective if a pixel of
    its mask is not zero. There is no official split for anomaly detection: two thirds of the items,
    drawn at random, are for training and one third for testing, as in each of the authors' three
    folds. Most items have a crack and an item's images stay together, so only about a third of the
    cracks are in the test part.
    """

    name: ClassVar[str] = "ksdd"
    summary: ClassVar[str] = "KolektorSDD: 347 normal and 52 cracked surfaces, with masks"
    paper: ClassVar[str | None] = (
        "Tabernik, Sela, Skvarc and Skocaj: Segmentation-based deep-learning approach for "
        "surface-defect detection, Journal of Intelligent Manufacturing 2020"
    )
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    license: ClassVar[str] = NON_COMMERCIAL
    page: ClassVar[str] = "https://www.vicos.si/resources/kolektorsdd/"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://go.vicos.si/kolektorsdd",
            sha256="65dc621693418585de9c4467d1340ea7958a6181816f0dc2883a1e8b61f9d4dc",
            file="KolektorSDD.zip",
        ),
    )
    official_counts: ClassVar[Mapping[str, DefectCounts]] = {
        CATEGORY: DefectCounts({GOOD: 347, "crack": 52})
    }

    def categories(self, root: Path) -> list[str]:
        """The only category; raises UserError if there is no item."""
        _items(root)
        return [CATEGORY]

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """Every item's images, in train or test as drawn by ``split_seed``, train first.

        Raises UserError for an image whose mask is missing or cannot be read.
        """
        layout.check_category(category, [CATEGORY], self.name, root)
        items = _items(root)
        names = draw.drawn((item.name for item in items), split_seed)
        train = set(names[: len(items) * 2 // 3])
        splits: tuple[tuple[Split, list[Path]], ...] = (
            ("train", [item for item in items if item.name in train]),
            ("test", [item for item in items if item.name not in train]),
        )
        found = [
            (split, image) for split, chosen in splits for item in chosen for image in _images(item)
        ]
        with ThreadPoolExecutor(folders.workers()) as pool:
            defective = list(pool.map(_is_defective, (image for _, image in found)))
        return [
            Sample(
                image,
                split,
                int(shown),
                (_mask(image),) if shown else (),
                "crack" if shown else GOOD,
                image.parent.name,
            )
            for (split, image), shown in zip(found, defective, strict=True)
        ]


def _items(root: Path) -> list[Path]:
    """The items' folders, by name."""
    home = layout.home(root, lambda folder: any(folder.glob("kos*/Part*.jpg")))
    found = [item for item in layout.folders(home) if item.name.startswith("kos") and _images(item)]
    if not found:
        raise UserError(
            f"'{root}': expected images kos01/Part0.jpg and so on, found none; "
            f"{layout.how_to_get(KolektorSDD.name)}"
        )
    return found


def _images(item: Path) -> list[Path]:
    return [path for path in layout.images(item) if path.suffix.lower() == ".jpg"]


def _mask(image: Path) -> Path:
    return image.with_name(f"{image.stem}_label.bmp")


def _is_defective(image: Path) -> bool:
    mask = _mask(image)
    if not mask.is_file():
        raise UserError(
            f"'{image}': its mask '{mask.name}' is missing; {layout.how_to_get(KolektorSDD.name)}"
        )
    return bool(decoding.decode(mask).any())
