"""Data sets whose images the user has or fetches."""

from adbench_harness.basic.datasets.folder import Folder
from adbench_harness.basic.datasets.magnetic_tile import MagneticTile
from adbench_harness.basic.datasets.mini import Mini
from adbench_harness.basic.datasets.mvtec import MVTecAD

__all__ = ["Folder", "MVTecAD", "MagneticTile", "Mini"]
