"""MPDD: painted metal parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from adbench_harness.datasets.official import NON_COMMERCIAL, Official, SplitCounts
from adbench_harness.types import Archive


class MPDD(Official):
    """Six categories of metal parts, many with several parts per image."""

    name: ClassVar[str] = "mpdd"
    summary: ClassVar[str] = "MPDD: 6 kinds of metal parts, with masks"
    paper: ClassVar[str | None] = (
        "Jezek, Jonak, Burget, Dvorak and Skotak: Deep learning-based defect detection of metal "
        "parts, evaluating current methods in complex conditions, ICUMT 2021"
    )
    license: ClassVar[str] = f"{NON_COMMERCIAL} according to others; read LICENSE at its source"
    page: ClassVar[str] = "https://github.com/stepanje/MPDD"
    archives: ClassVar[tuple[Archive, ...]] = (Archive(None, file="MPDD.zip"),)
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "bracket_black": SplitCounts(289, 32, 47, 2),
        "bracket_brown": SplitCounts(185, 26, 51, 2),
        "bracket_white": SplitCounts(110, 30, 30, 2),
        "connector": SplitCounts(128, 30, 14, 1),
        "metal_plate": SplitCounts(54, 26, 71, 3),
        "tubes": SplitCounts(122, 32, 69, 1),
    }
