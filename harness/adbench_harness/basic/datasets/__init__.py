"""The data sets that come with adbench; most images must be fetched."""

from adbench_harness.basic.datasets.btad import BTAD
from adbench_harness.basic.datasets.dagm import DAGM
from adbench_harness.basic.datasets.folder import Folder
from adbench_harness.basic.datasets.kolektor import KolektorSDD
from adbench_harness.basic.datasets.magnetic_tile import MagneticTile
from adbench_harness.basic.datasets.mini import Mini
from adbench_harness.basic.datasets.mpdd import MPDD
from adbench_harness.basic.datasets.mvtec import MVTecAD, MVTecAD2
from adbench_harness.basic.datasets.mvtec_3d import MVTec3D
from adbench_harness.basic.datasets.mvtec_loco import MVTecLOCO
from adbench_harness.basic.datasets.visa import VisA

DATASETS = (
    *(Mini, MVTecAD, MVTecLOCO, MVTecAD2, MVTec3D, VisA, BTAD, MPDD, MagneticTile),
    *(KolektorSDD, DAGM, Folder),
)

__all__ = [
    *("BTAD", "DAGM", "DATASETS", "MPDD", "Folder", "KolektorSDD", "MVTec3D", "MVTecAD"),
    *("MVTecAD2", "MVTecLOCO", "MagneticTile", "Mini", "VisA"),
]
