"""MVTec AD: fifteen categories of objects and textures with an official split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from adbench_harness.basic.datasets import layout
from adbench_harness.errors import UserError
from adbench_harness.types import Archive, Sample


class Counts(NamedTuple):
    """Images in train and test, and how many types the test part's defects are of."""

    train: int
    good: int
    defective: int
    defect_types: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Counts:
        """What ``samples`` hold."""
        test = [sample for sample in samples if sample.part == "test"]
        defects = [sample.defect for sample in test if sample.label]
        train = sum(sample.part == "train" for sample in samples)
        return cls(train, len(test) - len(defects), len(defects), len(set(defects)))

    def __str__(self) -> str:
        return (
            f"{self.train} train, {self.good} good and {self.defective} defective test images "
            f"of {self.defect_types} type{'s' * (self.defect_types != 1)}"
        )


class MVTecAD:
    """``root/<category>`` in the layout of ``layout.samples``."""

    name: ClassVar[str] = "mvtec_ad"
    summary: ClassVar[str] = "MVTec AD: 10 objects and 5 textures, with masks"
    paper: ClassVar[str | None] = (
        "Bergmann, Fauser, Sattlegger and Steger: MVTec AD, a comprehensive real-world dataset for "
        "unsupervised anomaly detection, CVPR 2019"
    )
    version: ClassVar[int] = 1
    default: ClassVar[bool] = False
    licence: ClassVar[str] = "CC BY-NC-SA 4.0"
    role: ClassVar[Literal["benchmark", "auxiliary"]] = "benchmark"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
            "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
            sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        ),
    )
    mask_threshold: ClassVar[int] = 0
    official_counts: ClassVar[Mapping[str, Counts]] = {
        "bottle": Counts(209, 20, 63, 3),
        "cable": Counts(224, 58, 92, 8),
        "capsule": Counts(219, 23, 109, 5),
        "carpet": Counts(280, 28, 89, 5),
        "grid": Counts(264, 21, 57, 5),
        "hazelnut": Counts(391, 40, 70, 4),
        "leather": Counts(245, 32, 92, 5),
        "metal_nut": Counts(220, 22, 93, 4),
        "pill": Counts(267, 26, 141, 7),
        "screw": Counts(320, 41, 119, 5),
        "tile": Counts(230, 33, 84, 5),
        "toothbrush": Counts(60, 12, 30, 1),
        "transistor": Counts(213, 60, 40, 4),
        "wood": Counts(247, 19, 60, 5),
        "zipper": Counts(240, 32, 119, 7),
    }

    def categories(self, root: Path) -> list[str]:
        """The official categories that lie under ``root``; raises UserError where none does."""
        found = [name for name in self.official_counts if (root / name).is_dir()]
        if not found:
            raise UserError(
                f"'{root}' has no category of MVTec AD, such as '{root / 'bottle'}'; "
                f"{layout.how_to_get(self.name)}"
            )
        return found

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples as the folders split them; ``split_seed`` changes nothing."""
        layout.check_category(category, self.categories(root), self.name, root)
        return layout.samples(root / category, layout.how_to_get(self.name))

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """How the counts differ from the official split's, in words; None where they do not."""
        found, official = Counts.of(samples), self.official_counts[category]
        return None if found == official else f"{found}; the official split has {official}"
