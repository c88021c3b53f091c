"""MVTec AD and its successor AD 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from adbench_harness.datasets.layout import Names
from adbench_harness.datasets.official import Official, SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.images import decoding
from adbench_harness.types import Archive, Sample


class MVTecAD(Official):
    """Fifteen categories of objects and textures with an official split."""

    name: ClassVar[str] = "mvtec_ad"
    summary: ClassVar[str] = "MVTec AD: 10 objects and 5 textures, with masks"
    paper: ClassVar[str | None] = (
        "Bergmann, Fauser, Sattlegger and Steger: MVTec AD, a comprehensive real-world dataset for "
        "unsupervised anomaly detection, CVPR 2019"
    )
    page: ClassVar[str] = "https://www.mvtec.com/company/research/datasets/mvtec-ad"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
            "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
            sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
            gigabytes=4.9,
        ),
    )
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "bottle": SplitCounts(209, 20, 63, 3),
        "cable": SplitCounts(224, 58, 92, 8),
        "capsule": SplitCounts(219, 23, 109, 5),
        "carpet": SplitCounts(280, 28, 89, 5),
        "grid": SplitCounts(264, 21, 57, 5),
        "hazelnut": SplitCounts(391, 40, 70, 4),
        "leather": SplitCounts(245, 32, 92, 5),
        "metal_nut": SplitCounts(220, 22, 93, 4),
        "pill": SplitCounts(267, 26, 141, 7),
        "screw": SplitCounts(320, 41, 119, 5),
        "tile": SplitCounts(230, 33, 84, 5),
        "toothbrush": SplitCounts(60, 12, 30, 1),
        "transistor": SplitCounts(213, 60, 40, 4),
        "wood": SplitCounts(247, 19, 60, 5),
        "zipper": SplitCounts(240, 32, 119, 7),
    }


class MVTecAD2(Official):
    """Eight categories under changing light; the public test part.

    The private parts have no published ground truth and are scored by benchmark.mvtec.com, so they
    are not listed. ``DAMAGED`` is reported to be unreadable; if it is, it is left out.
    """

    DAMAGED: ClassVar[str] = "rice/train/good/265_regular.png"

    name: ClassVar[str] = "mvtec_ad_2"
    summary: ClassVar[str] = "MVTec AD 2: 8 objects under changing light, public test part"
    paper: ClassVar[str | None] = (
        "Heckler-Kram, Neudeck, Scheler, Koenig and Steger: The MVTec AD 2 dataset, advanced "
        "scenarios for unsupervised anomaly detection, 2025"
    )
    page: ClassVar[str] = "https://www.mvtec.com/company/research/datasets/mvtec-ad-2"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            None,
            sha256="c0ded99ef32bfc8e352d52beb44515e5b292b8598cb963aadfa91ca0763505e4",
            file="mvtec_ad_2.tar.gz",
            gigabytes=30.4,
        ),
    )
    folder_names: ClassVar[Names] = Names(test="test_public", truth="test_public/ground_truth")
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "can": SplitCounts(412, 72, 90, 1, 46),
        "fabric": SplitCounts(387, 66, 90, 1, 43),
        "fruit_jelly": SplitCounts(263, 20, 60, 1, 37),
        "rice": SplitCounts(313, 42, 90, 1, 35),
        "sheet_metal": SplitCounts(137, 24, 90, 1, 19),
        "vial": SplitCounts(291, 35, 105, 1, 41),
        "wallplugs": SplitCounts(293, 60, 90, 1, 33),
        "walnuts": SplitCounts(432, 60, 90, 1, 48),
    }

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples in the split of the folders, without the file that is known to be damaged."""
        damaged = self.home(root) / self.DAMAGED
        return [
            sample
            for sample in super().samples(root, category, split_seed)
            if sample.image != damaged or _is_image(damaged)
        ]

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """As for any official split, but the damaged file may be missing."""
        official = self.official_counts[category]
        short = official._replace(train=official.train - 1)
        if self.DAMAGED.startswith(f"{category}/") and SplitCounts.of(samples) == short:
            damaged = Sample(Path(self.DAMAGED), "train", 0)
            samples = [*samples, damaged]
        return super().departure(category, samples)


def _is_image(path: Path) -> bool:
    try:
        decoding.decode(path)
    except UserError:
        return False
    return True
