"""Public data sets in miniature: the archives that their pages offer, with tiny images in them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache

import cv2
import numpy as np

HEIGHT, WIDTH = 6, 8
Files = Mapping[str, bytes]


@cache
def image(suffix: str = ".png", seed: int = 0) -> bytes:
    """An image file of 6 x 8 px."""
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@cache
def mask(suffix: str = ".png", value: int = 255, at: int = 2) -> bytes:
    """A mask of 6 x 8 px with one pixel of ``value``."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[at, at] = value
    return cv2.imencode(suffix, pixels)[1].tobytes()


EMPTY = mask(value=0)


@cache
def points() -> bytes:
    """A float TIFF of 6 x 8 px: x, y and z of each."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return cv2.imencode(".tiff", np.dstack([x * 0 + 0.5, y, x]))[1].tobytes()  # z, y, x: BGR


MVTEC_AD = {
    "bottle/train/good/000.png": image(),
    "bottle/train/good/001.png": image(seed=1),
    "bottle/test/good/000.png": image(),
    "bottle/test/crack/000.png": image(),
    "bottle/ground_truth/crack/000_mask.png": mask(),
    "license.txt": b"CC BY-NC-SA 4.0",
}

MVTEC_LOCO = {
    "pushpins/train/good/000.png": image(),
    "pushpins/validation/good/000.png": image(),
    "pushpins/test/good/000.png": image(),
    "pushpins/test/logical_anomalies/000.png": image(),
    "pushpins/test/logical_anomalies/001.png": image(),
    "pushpins/test/structural_anomalies/000.png": image(),
    "pushpins/ground_truth/logical_anomalies/000/000.png": mask(value=252),
    "pushpins/ground_truth/logical_anomalies/000/001.png": mask(value=251, at=3),
    "pushpins/ground_truth/logical_anomalies/001/000.png": mask(value=252),
    "pushpins/ground_truth/structural_anomalies/000/000.png": mask(value=200),
    "pushpins/defects_config.json": b"""[
        {"defect_name": "additional_pushpin", "pixel_value": 252,
         "saturation_threshold": 6300, "relative_saturation": false},
        {"defect_name": "missing_pushpin", "pixel_value": 251,
         "saturation_threshold": 0.5, "relative_saturation": true},
        {"defect_name": "broken", "pixel_value": 200,
         "saturation_threshold": 1.0, "relative_saturation": true}
    ]""",
}

MVTEC_AD_2 = {
    f"mvtec_ad_2/rice/{name}": content
    for name, content in {
        "train/good/000_regular.png": image(),
        "train/good/265_regular.png": image()[:40],  # as it is said to be in the real archive
        "validation/good/000_regular.png": image(),
        "test_public/good/000_shift_1.png": image(),
        "test_public/bad/000_overexposed.png": image(),
        "test_public/ground_truth/bad/000_overexposed_mask.png": mask(),
        "test_private/000_regular.png": image(),
        "test_private_mixed/000_mixed.png": image(),
    }.items()
}

MVTEC_3D = {
    f"bagel/{name}": content
    for folder, kinds in {
        "train/good": ("rgb", "xyz"),
        "validation/good": ("rgb", "xyz"),
        "test/good": ("rgb", "xyz", "empty"),
        "test/hole": ("rgb", "xyz", "gt"),
        "test/crack": ("rgb", "xyz", "gt"),
    }.items()
    for kind in kinds
    for name, content in {
        "rgb": {f"{folder}/rgb/000.png": image(), f"{folder}/rgb/001.png": image(seed=1)},
        "xyz": {f"{folder}/xyz/{n}.tiff": points() for n in ("000", "001")},
        "gt": {f"{folder}/gt/{n}.png": mask() for n in ("000", "001")},
        "empty": {f"{folder}/gt/{n}.png": EMPTY for n in ("000", "001")},
    }[kind].items()
} | {"bagel/calibration/camera_parameters.json": b"{}"}

VISA = {
    "candle/Data/Images/Normal/0000.JPG": image(".jpg"),
    "candle/Data/Images/Normal/0001.JPG": image(".jpg"),
    "candle/Data/Images/Anomaly/000.JPG": image(".jpg"),
    "candle/Data/Masks/Anomaly/000.png": mask(value=3),
    "candle/image_anno.csv": b"image,label,mask\n",
    "split_csv/1cls.csv": (
        b"object,split,label,image,mask\n"
        b"candle,train,normal,candle/Data/Images/Normal/0001.JPG,\n"
        b"candle,test,normal,candle/Data/Images/Normal/0000.JPG,\n"
        b"candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\n"
    ),
    "split_csv/2cls_highshot.csv": (
        b"object,split,label,image,mask\n"
        b"candle,train,normal,candle/Data/Images/Normal/0000.JPG,\n"
        b"candle,train,anomaly,candle/Data/Images/Anomaly/000.JPG,"
        b"candle/Data/Masks/Anomaly/000.png\n"
        b"candle,test,normal,candle/Data/Images/Normal/0001.JPG,\n"
    ),
    "LICENSE-DATASET": b"CC BY 4.0",
}

BTAD = {
    f"BTech_Dataset_transformed/{name}": content
    for name, content in {
        "01/train/ok/0000.bmp": image(".bmp"),
        "01/test/ok/0000.bmp": image(".bmp"),
        "01/test/ko/0000.bmp": image(".bmp"),
        "01/ground_truth/ko/0000.png": mask(value=1),
        "02/train/ok/0000.png": image(),
        "02/test/ok/0000.png": image(),
        "02/test/ko/0000.png": image(),
        "02/test/ko/0001.png": image(),
        "02/ground_truth/ko/0000.png": mask(),
        "02/ground_truth/ko/0001.png": EMPTY,
    }.items()
}

MPDD = {
    f"MPDD/connector/{name}": content
    for name, content in {
        "train/good/000.png": image(),
        "test/good/000.png": image(),
        "test/parts_mismatch/000.png": image(),
        "ground_truth/parts_mismatch/000_mask.png": mask(),
    }.items()
}

MTD = {
    f"Magnetic-tile-defect-datasets.-cc4eb53/MT_{name}": content
    for name, content in {
        **{f"Free/Imgs/exp1_num_{n}.jpg": image(".jpg") for n in range(5)},
        **{f"Free/Imgs/exp1_num_{n}.png": EMPTY for n in range(5)},
        **{
            f"{kind}/Imgs/exp1_num_9{suffix}": content
            for kind in ("Blowhole", "Break", "Crack", "Fray", "Uneven")
            for suffix, content in ((".jpg", image(".jpg")), (".png", mask()))
        },
    }.items()
}

KSDD = {
    f"kos{item:02}/Part{part}{end}": content
    for item in range(1, 7)
    for part in range(3)
    for end, content in (
        (".jpg", image(".jpg")),
        ("_label.bmp", mask(".bmp", value=255 * (part == item % 3))),
    )
}

KSDD2 = {
    name: content
    for folder, first in (("train", 10000), ("test", 20000))
    for number in range(first, first + 4)
    for name, content in (
        (f"{folder}/{number}.png", image()),
        (f"{folder}/{number}_GT.png", mask(value=255 * (number % 2))),
    )
}


def dagm(name: str) -> Files:
    """One class: in train image 2 is defective, in test image 1."""
    return {
        f"{name}/{part}/{path}": content
        for part, defective in (("Train", 2), ("Test", 1))
        for path, content in {
            "0001.PNG": image(),
            "0002.PNG": image(),
            "0003.PNG": image(),
            f"Label/000{defective}_label.PNG": mask(),
            "Label/Labels.txt": b"1\n1\t0\t0001.PNG\t0\t0\n",
            "Thumbs.db": b"",
        }.items()
    }


DTD = {
    "dtd/images/banded/banded_0002.jpg": image(".jpg"),
    "dtd/images/dotted/dotted_0001.jpg": image(".jpg"),
    "dtd/labels/train1.txt": b"banded/banded_0002.jpg\n",
}

ARCHIVES: Mapping[str, Mapping[str, Files]] = {
    "mvtec_ad": {"mvtec_anomaly_detection.tar.xz": MVTEC_AD},
    "mvtec_loco": {"mvtec_loco_anomaly_detection.tar.xz": MVTEC_LOCO},
    "mvtec_ad_2": {"mvtec_ad_2.tar.gz": MVTEC_AD_2},
    "mvtec_3d": {"mvtec_3d_anomaly_detection.tar.xz": MVTEC_3D},
    "visa": {"VisA_20220922.tar": VISA},
    "btad": {"btad.zip": BTAD},
    "mpdd": {"MPDD.zip": MPDD},
    "mtd": {"Magnetic-tile-defect-datasets.zip": MTD},
    "ksdd": {"KolektorSDD.zip": KSDD},
    "dagm": {f"Class{n}.zip": dagm(f"Class{n}") for n in range(1, 11)},
    "ksdd2": {"KolektorSDD2.zip": KSDD2},
    "dtd": {"dtd-r1.0.1.tar.gz": DTD},
}
"""By data set: its archives by the names that they are published under, and what is in each."""


def pack(name: str, files: Files) -> bytes:
    """The archive's bytes, in the format that ``name`` ends in."""
    packed = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    else:
        compression = name.rpartition("tar")[2].removeprefix(".")
        with tarfile.open(fileobj=packed, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
