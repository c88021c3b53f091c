"""MVTec 3D-AD: scanned objects; each pixel of an image has a position in space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from adbench_harness.datasets import layout
from adbench_harness.datasets.official import Official, SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.types import GOOD, SPLITS, Archive, Sample


class MVTec3D(Official):
    """``root/<category>/{train,validation,test}/<defect>/{rgb,xyz,gt}/NNN.{png,tiff,png}``.

    Each sample has the extra image ``xyz``, float32 [H, W, 3]: the x, y and z of every pixel, or 0
    if the sensor measured nothing. ``gt`` has the masks of the test images.
    """

    name: ClassVar[str] = "mvtec_3d"
    summary: ClassVar[str] = "MVTec 3D-AD: 10 scanned objects, images and 3D points, with masks"
    paper: ClassVar[str | None] = (
        "Bergmann, Jin, Sattlegger and Steger: The MVTec 3D-AD dataset for unsupervised 3D anomaly "
        "detection and localization, VISAPP 2022"
    )
    page: ClassVar[str] = "https://www.mvtec.com/company/research/datasets/mvtec-3d-ad"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://www.mydrive.ch/shares/45920/dd1eb345346df066c63b5c95676b961b/download/"
            "428824485-1643285832/mvtec_3d_anomaly_detection.tar.xz",
            md5="d8bb2800fbf3ac88e798da6ae10dc819",
        ),
    )
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "bagel": SplitCounts(244, 22, 88, 4, 22),
        "cable_gland": SplitCounts(223, 21, 87, 4, 23),
        "carrot": SplitCounts(286, 27, 132, 5, 29),
        "cookie": SplitCounts(210, 28, 103, 4, 22),
        "dowel": SplitCounts(288, 26, 104, 4, 34),
        "foam": SplitCounts(236, 20, 80, 4, 27),
        "peach": SplitCounts(361, 26, 106, 5, 42),
        "potato": SplitCounts(300, 22, 92, 4, 33),
        "rope": SplitCounts(298, 32, 69, 3, 33),
        "tire": SplitCounts(210, 25, 87, 4, 29),
    }

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples as the folders split them; ``split_seed`` changes nothing.

        Raises UserError if an image's points are missing, or a defective image's mask.
        """
        layout.check_category(category, self.categories(root), self.name, root)
        folder = self.folder(root, category)
        found = []
        for split in SPLITS:
            for defect in layout.folders(folder / split):
                label = int(defect.name != GOOD)
                for image in layout.images(defect / "rgb"):
                    points = self._beside(image, "xyz", ".tiff")
                    masks = (self._beside(image, "gt", ".png"),) if label else ()
                    extras = {"xyz": points}
                    found.append(Sample(image, split, label, masks, defect.name, extras=extras))
        expected = "train/good/rgb, test/good/rgb and test/<defect>/rgb"
        layout.check_splits(found, folder, f"expected {expected}; {layout.how_to_get(self.name)}")
        return found

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """As for any official split, except for the number of defect types.

        It is the paper's, which may count types that have no folder of their own.
        """
        official = self.official_counts[category]
        found = SplitCounts.of(samples)._replace(defect_types=official.defect_types)
        return None if found == official else super().departure(category, samples)

    def _beside(self, image: Path, folder: str, suffix: str) -> Path:
        """The file with the same number in another folder of the defect."""
        path = image.parents[1] / folder / f"{image.stem}{suffix}"
        if not path.is_file():
            raise UserError(f"'{image}': '{path}' is missing; {layout.how_to_get(self.name)}")
        return path
