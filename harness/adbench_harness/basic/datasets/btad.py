"""BTAD: three products of beanTech."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from adbench_harness.datasets.layout import Names
from adbench_harness.datasets.official import NON_COMMERCIAL, Official, SplitCounts
from adbench_harness.types import Archive


class BTAD(Official):
    """Three products; normal images are called ``ok``, and files differ in format.

    Of the defective images, one of product 02 and ten of product 03 have an empty mask: they count
    as anomalous images without anomalous pixels.
    """

    name: ClassVar[str] = "btad"
    summary: ClassVar[str] = "BTAD: 3 industrial products, with masks (11 of them empty)"
    paper: ClassVar[str | None] = (
        "Mishra, Verk, Fornasier, Piciarelli and Foresti: VT-ADL, a vision transformer network for "
        "image anomaly detection and localization, ISIE 2021"
    )
    license: ClassVar[str] = f"{NON_COMMERCIAL} according to others; its source states none"
    page: ClassVar[str] = "https://github.com/pankajmishra000/VT-ADL"
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://avires.dimi.uniud.it/papers/btad/btad.zip",
            sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
        ),
    )
    folder_names: ClassVar[Names] = Names(good="ok")
    official_counts: ClassVar[Mapping[str, SplitCounts]] = {
        "01": SplitCounts(400, 21, 49, 1),
        "02": SplitCounts(399, 30, 200, 1),
        "03": SplitCounts(1000, 400, 41, 1),
    }
    empty_masks: ClassVar[Mapping[str, int]] = {"02": 1, "03": 10}
