"""MVTec LOCO AD: structural and logical defects, and how much of each must be found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from adbench_harness.datasets import layout
from adbench_harness.datasets.official import Official, SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.images import folders
from adbench_harness.types import Archive, Sample

CONFIG = "defects_config.json"


class Saturation(NamedTuple):
    """How much of a defect is enough to find: px, or a share of its area if ``relative``."""

    threshold: float
    relative: bool

    def area(self, whole: int) -> float:
        """The same in px, for a defect of ``whole`` px; at least 1."""
        if self.relative:
            return max(1, int(self.threshold * whole))
        return min(self.threshold, whole)


class MVTecLOCO(Official):
    """Five categories with structural and logical defects; a folder of masks for each image.

    Each mask shows one defect, and its grey value is the defect's kind. The category's
    ``defects_config.json`` has a saturation threshold for each kind; ``Sample.saturation`` is
    computed from it.
    """

    name: ClassVar[str] = "mvtec_loco"
    summary: ClassVar[str] = "MVTec LOCO AD: logical and structural anomalies, with masks"
    paper: ClassVar[str | None] = (
        "Bergmann, Batzner, Fauser, Sattlegger and Steger: Beyond dents and scratches, logical "
        "constraints in unsupervised anomaly detection and localization, IJCV 2022"
    )
    page: ClassVar[str] = "https://www.mvtec.com/company/research/datasets/mvtec-loco"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://www.mydrive.ch/shares/48237/1b9106ccdfbb09a0c414bd49fe44a14a/download/"
            "430647091-1646842701/mvtec_loco_anomaly_detection.tar.xz",
            sha256="9e7c84dba550fd2e59d8e9e231c929c45ba737b6b6a6d3814100f54d63aae687",
        ),
    )
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "breakfast_box": SplitCounts(351, 102, 173, 2, 62),
        "juice_bottle": SplitCounts(335, 94, 236, 2, 54),
        "pushpins": SplitCounts(372, 138, 172, 2, 69),
        "screw_bag": SplitCounts(360, 122, 219, 2, 60),
        "splicing_connectors": SplitCounts(360, 119, 193, 2, 60),
    }

    def samples(self, root: Path, category: str, split_seed: int) -> list[Sample]:
        """The samples as the folders split them; ``split_seed`` changes nothing.

        Raises UserError if the category's thresholds are missing or do not have a mask's kind.
        """
        found = super().samples(root, category, split_seed)
        file = self.folder(root, category) / CONFIG
        saturated = partial(_saturated, thresholds=_thresholds(file), file=file)
        with ThreadPoolExecutor(folders.workers()) as pool:
            return list(pool.map(saturated, found))


def _saturated(sample: Sample, thresholds: Mapping[int, Saturation], file: Path) -> Sample:
    areas = []
    for mask in sample.masks:
        kind, whole = _kind(mask, mask.stat().st_mtime_ns)
        if kind not in thresholds:
            raise UserError(
                f"mask '{mask}': '{file}' has no pixel_value {kind}; "
                f"{layout.how_to_get(MVTecLOCO.name)}"
            )
        areas.append(thresholds[kind].area(whole))
    return replace(sample, saturation=tuple(areas))


def _thresholds(file: Path) -> dict[int, Saturation]:
    """The thresholds by a mask's grey value; raises UserError if the file has another form."""
    try:
        entries = json.loads(file.read_bytes())
        return {
            int(entry["pixel_value"]): Saturation(
                float(entry["saturation_threshold"]), bool(entry["relative_saturation"])
            )
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{file}' cannot be read as saturation thresholds ({error}); "
            f"{layout.how_to_get(MVTecLOCO.name)}"
        ) from None


@lru_cache(maxsize=8192)
def _kind(mask: Path, _changed: int) -> tuple[int, int]:
    """A mask's grey value, and the number of pixels that are not 0."""
    grey = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UserError(f"mask '{mask}' cannot be decoded as an image; check the file")
    return int(grey.max()), int(np.count_nonzero(grey))
