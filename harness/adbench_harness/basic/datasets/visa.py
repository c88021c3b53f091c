"""VisA: twelve objects, split by a table in the archive."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from adbench_harness.datasets import layout
from adbench_harness.datasets.official import Official, SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.types import GOOD, SPLITS, Archive, Sample

LABELS = {"normal": 0, "anomaly": 1}


class VisA(Official):
    """``root/<object>/Data`` as published; ``root/split_csv/<split>.csv`` defines the split.

    For copies that were rearranged to ``<object>/{train,test,ground_truth}``, use ``folder``.
    """

    name: ClassVar[str] = "visa"
    summary: ClassVar[str] = "VisA: 12 objects, some with several per image, with masks"
    paper: ClassVar[str | None] = (
        "Zou, Jeong, Pemula, Zhang and Dabeer: SPot-the-difference self-supervised pre-training "
        "for anomaly detection and segmentation, ECCV 2022"
    )
    license: ClassVar[str] = "CC BY 4.0"
    page: ClassVar[str] = "https://github.com/amazon-science/spot-diff"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
            sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
            gigabytes=1.9,
        ),
    )
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "candle": SplitCounts(900, 100, 100, 1),
        "capsules": SplitCounts(542, 60, 100, 1),
        "cashew": SplitCounts(450, 50, 100, 1),
        "chewinggum": SplitCounts(453, 50, 100, 1),
        "fryum": SplitCounts(450, 50, 100, 1),
        "macaroni1": SplitCounts(900, 100, 100, 1),
        "macaroni2": SplitCounts(900, 100, 100, 1),
        "pcb1": SplitCounts(904, 100, 100, 1),
        "pcb2": SplitCounts(901, 100, 100, 1),
        "pcb3": SplitCounts(905, 101, 100, 1),
        "pcb4": SplitCounts(904, 101, 100, 1),
        "pipe_fryum": SplitCounts(450, 50, 100, 1),
    }

    def __init__(
        self,
        *,
        split: Annotated[str, "a table in split_csv: 1cls, 2cls_fewshot or 2cls_highshot"] = "1cls",
    ) -> None:
        self.split = split

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples in the split of the table; ``split_seed`` has no effect."""
        layout.check_category(category, self.categories(root), self.name, root)
        home = self.home(root)
        file = home / "split_csv" / f"{self.split}.csv"
        found = [_sample(row, home, file) for row in _rows(file) if row["object"] == category]
        layout.check_splits(found, file, layout.how_to_get(self.name))
        return sorted(found, key=lambda s: (SPLITS.index(s.split), s.label, s.image))

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """As for any official split; the counts of the other tables are not published."""
        return super().departure(category, samples) if self.split == "1cls" else None


def _sample(row: Mapping[str, str], home: Path, file: Path) -> Sample:
    split, label = layout.named_split(row["split"]), LABELS.get(row["label"])
    if split is None or label is None or (label and not row["mask"]):
        raise UserError(f"'{file}': invalid row: {','.join(row.values())}; correct it")
    image, masks = home / row["image"], (home / row["mask"],) * label
    for path in (image, *masks):
        if not path.is_file():
            raise UserError(f"'{path}' is missing; {layout.how_to_get(VisA.name)}")
    return Sample(image, split, label, masks, "anomaly" if label else GOOD)


def _rows(file: Path) -> list[dict[str, str]]:
    columns = ("object", "split", "label", "image", "mask")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text, restval="", strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"'{file}' cannot be read: {error}; {layout.how_to_get(VisA.name)}"
        ) from None
    if rows and not set(columns) <= rows[0].keys():
        raise UserError(f"'{file}' lacks one of the columns {', '.join(columns)}; correct it")
    return [{column: row[column] for column in columns} for row in rows]
