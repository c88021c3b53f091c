"""Inputs that people have, each with its exit code and the line that it must give.

Every case is one small data set. ``SAME`` are the cases whose numbers are those of the plain data
set, since only its files differ; ``FINE`` are those with numbers of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from adbench_harness.basic.datasets import Folder, MVTecAD
from adbench_harness.cli import main
from adbench_harness.errors import UserError
from adbench_harness.images import folders, geometry
from adbench_harness.images.verify import category
from adbench_harness.planning.samples import listed as listed_samples
from adbench_harness.results.store import Store
from adbench_harness.types import InputSpec, Sample

Pixels = NDArray[Any]
SIDE = 32
SAME, NEAR, FINE = "same", "near", "fine"
ALIGNED = 0.8
"""A pixel AP that is reached only if masks lie on the defects."""
MASKS = "ground_truth/scratch"


def scene(rng: np.random.Generator, height: int = SIDE, width: int = SIDE) -> Pixels:
    y, x = np.mgrid[:height, :width]
    values = 120 + 40 * np.sin(x / 3) * np.sin(y / 3) + rng.normal(0, 3, (height, width))
    return np.clip(values, 0, 255).astype(np.uint8)


def write(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tiff":
        tifffile.imwrite(path, pixels)
    else:
        assert cv2.imwrite(str(path), pixels)


def plain(
    root: Path,
    *,
    image: Callable[[Pixels], Pixels] = lambda pixels: pixels,
    mask: Callable[[Pixels], Pixels] = lambda pixels: pixels,
    suffix: str = ".png",
    mask_suffix: str = ".png",
    width: int = SIDE,
) -> None:
    """Six normal images to train on, three normal and three defective ones to test."""
    rng = np.random.default_rng(0)
    for number in range(6):
        write(root / f"train/good/{number}{suffix}", image(scene(rng, width=width)))
    for number in range(3):
        write(root / f"test/good/{number}{suffix}", image(scene(rng, width=width)))
    for number in range(3):
        pixels, truth = scene(rng, width=width), np.zeros((SIDE, width), np.uint8)
        cv2.circle(truth, (9 + 3 * number, 12), 6, 255, -1)
        pixels[truth > 0] = pixels[truth > 0] // 3
        write(root / f"test/scratch/{number}{suffix}", image(pixels))
        write(root / f"{MASKS}/{number}_mask{mask_suffix}", mask(truth))


@dataclass(frozen=True)
class Case:
    make: Callable[[Path], object]
    code: int = 0
    line: str = ""
    values: str | float = SAME
    folder: str = "folder"

    def __repr__(self) -> str:
        return self.line


CASES: dict[str, Case] = {}


def case(code: int = 0, line: str = "", values: str | float = SAME, folder: str = "folder") -> Any:
    """Add the function as a case of its name; without a ``line`` nothing is to be said."""

    def add(make: Callable[[Path], object]) -> Callable[[Path], object]:
        CASES[make.__name__] = Case(make, code, line, values, folder)
        return make

    return add


def files(name: str, *expected: Any, folder: str = "folder", **kwargs: Any) -> None:
    """Add a case of the plain data set with other files."""
    CASES[name] = Case(lambda root: plain(root, **kwargs), *expected, folder=folder)


# ---------------------------------------------------------------- the depth of values


def deep(factor: int) -> Callable[[Pixels], Pixels]:
    return lambda pixels: pixels.astype(np.uint16) * factor


def colors(pixels: Pixels) -> Pixels:
    return np.dstack([pixels] * 3)


files("bits_16", 0, "read with 16 bits: 0 is black and 65535 is white", image=deep(257))
files("bits_12", 0, "read with 12 bits: 0 is black and 4095 is white", image=deep(16))
files("bits_10", 0, "read with 10 bits", image=deep(4))
files(
    "bits_of_fractions", 0, "all images are nearly black: their values end at 1 of 255; if", FINE,
    image=lambda pixels: (pixels > 120).astype(np.uint8),
)  # fmt: skip
files("bits_8_in_16", image=deep(1))
files("bits_12_declared", 0, "12 bits", image=deep(16), folder="folder:depth=12")
files("bits_12_of_color", 0, "12 bits", image=lambda pixels: colors(deep(16)(pixels)))
files("bits_12_in_tiff", 0, "12 bits", image=deep(16), suffix=".tiff")
files("bits_16_in_pgm", 0, "16 bits", image=deep(257), suffix=".pgm")
files("bits_12_of_color_in_ppm", 0, "12 bits", image=lambda p: colors(deep(16)(p)), suffix=".ppm")
files("bits_declared_of_8", 2, "depth=12, but '.*png' holds 8 bits", folder="folder:depth=12")
files("bits_99", 2, "depth must be from 8 to 16 bits, not 99", folder="folder:depth=99")
files(
    "floats", 2, r"tiff' holds values of type float32; convert it to 8 or 16 bits",
    image=lambda pixels: pixels.astype(np.float32) / 255, suffix=".tiff",
)  # fmt: skip
files(
    "integers_32", 2, r"tiff' holds values of type int32; convert",
    image=lambda pixels: pixels.astype(np.int32), suffix=".tiff",
)  # fmt: skip


files(
    "integers_of_8_bits_with_a_sign", 2, "0.tiff' holds values of type int8; convert it to 8",
    image=lambda pixels: (pixels.astype(int) - 128).astype(np.int8), suffix=".tiff",
)  # fmt: skip
files(
    "integers_of_16_bits_with_a_sign", 2, "0.tiff' holds values of type int16; convert",
    image=lambda pixels: pixels.astype(np.int16), suffix=".tiff",
)  # fmt: skip


@case(1, r"0.tiff' holds values of type float32")
def floats_of_color(root: Path) -> None:
    plain(root)
    (root / "train/good/0.png").unlink()
    tifffile.imwrite(
        root / "train/good/0.tiff", np.zeros((SIDE, SIDE, 3), np.float32), photometric="rgb"
    )


@case(1, r"scratch/0.png' holds the value 4096, but 12 bits end at 4095; convert it, or declare")
def bits_beyond_the_training_images(root: Path) -> None:
    plain(root, image=deep(16))
    write(root / "test/scratch/0.png", np.full((SIDE, SIDE), 4096, np.uint16))


@case(
    2,
    r"1 of 12 images stores 8 bits, and the others 16 \('.*train/good/0.png'\); convert all images",
)
def bits_of_both_kinds(root: Path) -> None:
    plain(root, image=deep(16))
    write(root / "train/good/0.png", np.zeros((SIDE, SIDE), np.uint8))


@case(
    2, r"2 of 12 images store 16 bits, and the others 8 \('.*test/good/0.png', and so on\); convert"
)
def bits_of_16_among_8(root: Path) -> None:
    plain(root)
    for number in range(2):
        write(root / f"test/good/{number}.png", np.full((SIDE, SIDE), 30_000, np.uint16))


# ---------------------------------------------------------------- colors


def kept_as(mode: str) -> Callable[[Path], None]:
    """The plain data set, each image in another mode of Pillow."""

    def make(root: Path) -> None:
        plain(root)
        for path in root.glob("t*/*/*.png"):
            Image.open(path).convert(mode).save(path)

    return make


for _mode in ("P", "LA", "RGB", "RGBA"):
    CASES[f"images_{_mode}"] = Case(kept_as(_mode))
CASES["images_of_1_bit"] = Case(kept_as("1"), values=FINE)


@case()
def grey_among_colors(root: Path) -> None:
    plain(root, image=colors)
    for path in (root / "test/good").iterdir():
        Image.open(path).convert("L").save(path)


@case(0, "", ALIGNED)
def cmyk(root: Path) -> None:
    plain(root, suffix=".jpg")
    for path in root.glob("t*/*/*.jpg"):
        Image.open(path).convert("CMYK").save(path, quality=98)


def in_tiff(root: Path, pixels: Callable[[Pixels], Pixels], **kwargs: Any) -> None:
    """The plain data set in TIFF files; ``pixels`` makes them of grey values [H, W]."""
    plain(root)
    for path in list(root.glob("t*/*/*.png")):
        made = pixels(np.asarray(Image.open(path)))
        tifffile.imwrite(path.with_suffix(".tif"), made, **kwargs)
        path.unlink()


for _code, _kind, _space in (
    (2, "cielab", "CIELab"),
    (1, "icclab", "ICCLab"),
    (1, "itulab", "ITULab"),
    (1, "linear_raw", "LinearRaw"),
):
    CASES[_kind] = Case(
        lambda root, kind=_kind: in_tiff(root, colors, photometric=kind),
        _code,
        rf"0.tif' is a TIFF in the color space {_space}; convert it to RGB",
    )
CASES["cfa"] = Case(
    lambda root: in_tiff(root, deep(16), photometric="cfa"),
    1,
    r"0.tif' is a TIFF in the color space CFA; convert it to RGB",
)


@case(1, "good/0.tif' is a TIFF in the color space CIELab; convert it to RGB")
def one_image_in_cielab(root: Path) -> None:
    plain(root)
    (root / "train/good/0.png").unlink()
    Image.new("LAB", (SIDE, SIDE)).save(root / "train/good/0.tif")


@case(0, "", ALIGNED)
def ycbcr(root: Path) -> None:
    plain(root)
    for path in list(root.glob("t*/*/*.png")):
        Image.open(path).convert("YCbCr").save(path.with_suffix(".tif"))
        path.unlink()


@case()
def cmyk_in_tiff(root: Path) -> None:
    in_tiff(root, lambda grey: np.dstack([255 - grey] * 3 + [grey * 0]), photometric="separated")


@case()
def white_is_0(root: Path) -> None:
    in_tiff(root, lambda grey: 255 - grey, photometric="miniswhite")


@case(2, "0.tif' is a TIFF in which 0 is white; convert it, so that 0 is black")
def white_is_0_in_16_bits(root: Path) -> None:
    in_tiff(root, lambda grey: 65535 - deep(257)(grey), photometric="miniswhite")


@case()
def masks_in_which_white_is_0(root: Path) -> None:
    plain(root)
    for path in list((root / MASKS).iterdir()):
        Image.open(path).convert("1").save(path.with_suffix(".tif"), compression="group4")
        path.unlink()


@case(2, "0_mask.tif' is a TIFF in which 0 is white; convert it, so that 0 is black")
def masks_in_which_white_is_0_in_16_bits(root: Path) -> None:
    plain(root)
    for path in list((root / MASKS).iterdir()):
        truth = 65535 - deep(257)(np.asarray(Image.open(path)))
        tifffile.imwrite(path.with_suffix(".tif"), truth, photometric="miniswhite")
        path.unlink()


@case(0, "12 images of 12 have transparent pixels, which are read with the colors stored there")
def half_transparent_in_tiff(root: Path) -> None:
    in_tiff(
        root,
        lambda grey: alpha(grey, np.full_like(grey, 100)),
        photometric="rgb",
        extrasamples=["unassalpha"],
    )


@case(1, "good/0.pgm' says that 15 is white; save it again, so that 255 is white")
def white_is_15(root: Path) -> None:
    plain(root)
    grey = np.asarray(Image.open(root / "train/good/0.png")) // 16
    (root / "train/good/0.pgm").write_bytes(b"P5 32 32 15\n" + grey.tobytes())
    (root / "train/good/0.png").unlink()


@case()
def masks_in_which_white_is_1(root: Path) -> None:
    plain(root)
    for path in list((root / MASKS).iterdir()):
        truth = np.asarray(Image.open(path)) // 255
        path.with_suffix(".pgm").write_bytes(b"P5 32 32 1\n" + truth.tobytes())
        path.unlink()


@case(0, "1 image of 12 has transparent pixels, which are read with the colors stored there")
def half_transparent(root: Path) -> None:
    plain(root)
    pixels = np.asarray(Image.open(root / "test/good/0.png").convert("RGBA")).copy()
    pixels[:8, :, 3] = 254
    Image.fromarray(pixels).save(root / "test/good/0.png")


@case(0, "3 images of 12 have transparent pixels, which are read with the colors stored there")
def transparent_background(root: Path) -> None:
    plain(root)
    for path in (root / "test/good").iterdir():
        pixels = np.asarray(Image.open(path).convert("RGBA")).copy()
        pixels[:8, :, 3] = 0
        Image.fromarray(pixels).save(path)


# ---------------------------------------------------------------- masks


def alpha(values: Pixels, shape: Pixels) -> Pixels:
    return np.dstack([values] * 3 + [shape])


def classes(first: int, second: int) -> Callable[[Pixels], Pixels]:
    """The left half of the defect is of one class and the right half of another."""

    def make(truth: Pixels) -> Pixels:
        middle = int(np.flatnonzero(truth.any(0)).mean())
        made = np.where(truth > 0, first, 0).astype(np.uint8)
        made[:, middle:][truth[:, middle:] > 0] = second
        return made

    return make


def lit(color: tuple[int, int, int]) -> Callable[[Pixels], Pixels]:
    return lambda truth: np.where(truth[..., None] > 0, np.array(color, np.uint8), np.uint8(0))


def blurred(truth: Pixels) -> Pixels:
    return cv2.GaussianBlur(truth, (0, 0), 1)


SOFT = "3 of 3 masks are not two-level"
files("masks_jpeg", 0, SOFT, NEAR, mask_suffix=".jpg")
files("masks_soft", 0, SOFT, NEAR, mask=blurred)
files("masks_soft_declared", 0, "", NEAR, mask=blurred, folder="folder:mask_threshold=127")
files("masks_alpha", 0, "in the alpha channel", mask=lambda t: alpha(np.full_like(t, 255), t))
files("masks_alpha_and_color", mask=lambda truth: alpha(truth, truth))
files("masks_opaque", mask=lambda truth: alpha(truth, np.full_like(truth, 255)))
files("masks_two_shapes", 2, "one shape in its colors and another", mask=lambda t: alpha(t, t.T))
files("masks_of_0_and_1", mask=lambda truth: truth // 255)
files("masks_of_16_bits", mask=lambda truth: truth.astype(np.uint16) * 257)
files("masks_of_0_and_1_in_16_bits", mask=lambda truth: (truth // 255).astype(np.uint16))
files("masks_red", mask=lit((0, 0, 255)))
files("masks_dark_blue", mask=lit((3, 0, 0)))
files("masks_bmp", mask_suffix=".bmp")
files("masks_raised", 0, "without the value 0", mask=lambda truth: np.where(truth, 200, 10))
files("masks_of_numbered_classes", 0, "3 of 3 masks are of several classes", mask=classes(1, 2))
files("masks_of_grey_classes", 0, "3 of 3 masks are of several classes", mask=classes(100, 200))
files("masks_without_0", 2, "values 1, 2, 3, and none is 0", mask=lambda t: classes(1, 2)(t) + 1)
files(
    "masks_of_a_class_and_255",
    2,
    "the values 0, 1, 255: the dark ones may be a class or noise",
    mask=classes(1, 255),
)
files(
    "masks_of_a_class_and_255_declared", 0, "", SAME,
    mask=classes(1, 255), folder="folder:mask_threshold=0",
)  # fmt: skip
files("masks_of_soft_edges_of_few_values", 0, SOFT, NEAR, mask=lambda t: blurred(t) // 64 * 64)
files("masks_inverted", 0, "3 of 3 .* covers more than half", FINE, mask=lambda truth: 255 - truth)
files("masks_empty", 0, "3 of 3 .* a mask that marks nothing", FINE, mask=np.zeros_like)
files(
    "masks_photographs", 2, r"shades of grey, .* declare the shade",
    mask=lambda truth: scene(np.random.default_rng(1)),
)  # fmt: skip
files(
    "masks_floats", 2, "0_mask.tiff' holds values of type float32",
    mask=lambda truth: (truth / 255).astype(np.float32), mask_suffix=".tiff",
)  # fmt: skip
files(
    "masks_equally_bright", 2, "colors that are equally bright",
    mask=lambda t: np.where(t[..., None] > 0, np.array([255, 0, 0]), np.array([0, 0, 255])),
)  # fmt: skip
files("masks_of_0_and_2", mask=lambda truth: truth // 255 * 2)
files("masks_of_0_and_1000", mask=lambda truth: (truth // 255).astype(np.uint16) * 1000)
files(
    "masks_of_another_size", 2, "_mask.png': 20 x 20 px, but its image is 32 x 32 px; resize the",
    mask=lambda truth: truth[:20, :20],
)  # fmt: skip
files(
    "threshold_above_white",
    2,
    "mask_threshold=300, but mask '.*0_mask.png' holds 8 bits, which end at 255",
    folder="folder:mask_threshold=300",
)
files(
    "threshold_of_16_bits",
    0,
    "",
    SAME,
    folder="folder:mask_threshold=300",
    mask=lambda truth: truth.astype(np.uint16) * 257,
)
files(
    "threshold_above_16_bits",
    2,
    "mask_threshold must be from 0 to 65534",
    folder="folder:mask_threshold=65535",
)
files("threshold_below_0", 2, "mask_threshold must be from 0", folder="folder:mask_threshold=-1")


@case()
def masks_of_1_bit(root: Path) -> None:
    plain(root)
    for path in (root / MASKS).iterdir():
        Image.open(path).convert("1").save(path)


@case()
def masks_with_a_palette(root: Path) -> None:
    plain(root)
    for path in (root / MASKS).iterdir():
        indexed = Image.fromarray(cv2.imread(str(path), 0) // 255, mode="P")
        indexed.putpalette([0, 0, 0, 128, 0, 0])
        indexed.save(path)


@case(0, "in the alpha channel")
def masks_of_grey_and_alpha(root: Path) -> None:
    plain(root)
    for path in (root / MASKS).iterdir():
        shape = Image.open(path)
        Image.merge("LA", (Image.new("L", shape.size, 255), shape)).save(path)


@case(2, "1_mask.png' cannot be decoded as an image")
def a_mask_that_is_cut_off(root: Path) -> None:
    plain(root)
    cut(root / f"{MASKS}/1_mask.png")


# ---------------------------------------------------------------- orientation


def tag(path: Path, orientation: int) -> None:
    with Image.open(path) as image:
        image.load()
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=98)


def tagged(root: Path, orientation: int, *folders: str, **kwargs: Any) -> None:
    plain(root, **kwargs)
    for folder in folders:
        for path in (root / folder).iterdir():
            tag(path, orientation)


ORIENTED = r"0.jpg' has the EXIF orientation tag {}, and '.*0_mask.png' has none: the mask may"


@case(2, ORIENTED.format(3))
def turned_by_180(root: Path) -> None:
    tagged(root, 3, "test/scratch", suffix=".jpg")


@case(2, ORIENTED.format(6))
def turned_by_90_and_square(root: Path) -> None:
    tagged(root, 6, "test/scratch", suffix=".jpg")


@case(2, r"0_mask.png' has the EXIF orientation tag 2, and '.*0.jpg' has none")
def only_masks_mirrored(root: Path) -> None:
    tagged(root, 2, MASKS, suffix=".jpg")


@case(0, "", ALIGNED)
def both_turned(root: Path) -> None:
    tagged(root, 3, "test/scratch", MASKS, suffix=".jpg")


@case(0, "", ALIGNED)
def turned_and_masks_drawn_as_stored(root: Path) -> None:
    tagged(root, 6, "test/scratch", "test/good", "train/good", suffix=".jpg", width=44)


@case(0, "", ALIGNED)
def turned_and_masks_drawn_as_shown(root: Path) -> None:
    turned_and_masks_drawn_as_stored(root)
    for path in (root / MASKS).iterdir():
        write(path, np.rot90(cv2.imread(str(path), 0), -1))


@case(0, "", ALIGNED)
def turned_without_masks(root: Path) -> None:
    tagged(root, 3, "train/good", "test/good", suffix=".jpg")


@case(1, "0.tiff' is a TIFF with the orientation tag 3; save it upright")
def turned_tiff(root: Path) -> None:
    plain(root)
    (root / "train/good/0.png").unlink()
    Image.new("L", (SIDE, SIDE)).save(root / "train/good/0.tiff", tiffinfo={274: 3})


# ---------------------------------------------------------------- cut off or corrupt


def cut(path: Path, kept: float = 0.6) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])


def damaged(suffix: str, damage: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        plain(root)
        (root / "train/good/0.png").unlink()
        file = root / f"train/good/0{suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
        write(file, noise)
        file.write_bytes(damage(file.read_bytes()))

    return make


def zeroed(start: float, stop: float) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        first, last = (int(len(content) * share) for share in (start, stop))
        return content[:first] + bytes(last - first) + content[last:]

    return damage


for _suffix in (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm"):
    CASES[f"cut_off{_suffix}"] = Case(
        damaged(_suffix, lambda content: content[: len(content) * 2 // 3]),
        1,
        rf"train/good/0{_suffix}' cannot be decoded as an image",
    )
for _suffix in (".bmp", ".webp"):
    CASES[f"cut_out{_suffix}"] = Case(
        damaged(_suffix, lambda content: content[:900] + content[1500:]),
        1,
        rf"train/good/0{_suffix}' cannot be decoded as an image",
    )
CASES["jpeg_without_its_last_byte"] = Case(
    damaged(".jpg", lambda content: content[:-1]), 1, "0.jpg' cannot be decoded"
)
CASES["jpeg_filled_with_zeros"] = Case(
    damaged(".jpg", zeroed(0.5, 1)), 1, "0.jpg' cannot be decoded as an image: its end is missing"
)
CASES["jpeg_with_a_hole"] = Case(
    damaged(".jpg", zeroed(0.4, 0.6)), 1, "0.jpg' cannot be decoded as an image: Corrupt JPEG data"
)
CASES["png_with_a_hole"] = Case(
    # What libpng says depends on where the hole is, and the encoder's bytes on the processor.
    damaged(".png", zeroed(0.4, 0.6)),
    1,
    "0.png' cannot be decoded as an image: ",
)
CASES["empty_file"] = Case(damaged(".png", lambda _: b""), 1, "0.png' cannot be decoded")
CASES["pointer_of_lfs"] = Case(
    damaged(
        ".png", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    ),
    1,
    "0.png' is a pointer of Git LFS, not an image; run 'git lfs pull'",
)
CASES["a_web_page"] = Case(damaged(".jpg", lambda _: b"<html>"), 1, "0.jpg' cannot be decoded")
CASES["zeros"] = Case(damaged(".png", lambda c: bytes(len(c))), 1, "0.png' cannot be decoded")


# ---------------------------------------------------------------- what is left out


@case()
def nested(root: Path) -> None:
    plain(root)
    for folder, name in (("train/good", "0"), ("test/scratch", "1"), (MASKS, "1_mask")):
        (root / folder / "more").mkdir()
        (root / folder / f"{name}.png").rename(root / folder / f"more/{name}.png")


@case()
def capitals(root: Path) -> None:
    plain(root)
    (root / "train/good").rename(root / "train/Good")
    (root / "test/good").rename(root / "test/GOOD")
    (root / MASKS).rename(root / "ground_truth/Scratch")
    for name in ("Train", "TEST", "Ground_Truth"):
        (root / name.lower()).rename(root / name)


@case(2, "has the folders Train and train, which mean the same; join them")
def twice(root: Path) -> None:
    plain(root)
    shutil.copytree(root / "train", root / "Train")


@case(2, "/test' has the folders Scratch and scratch, which mean the same; join them")
def a_defect_type_twice(root: Path) -> None:
    plain(root)
    shutil.copytree(root / "test/scratch", root / "test/Scratch")


@case(2, "/parts' has the folders Nut and nut, which mean the same; join them")
def a_category_twice(root: Path) -> None:
    for name in ("Nut", "nut"):
        plain(root / name)


@case(
    0,
    r"2 files are not used: 1 in test/scratch \(9.heic: files with the suffix .heic are not read\),"
    r" 1 in train/good \(9: no suffix\)",
)
def other_suffixes(root: Path) -> None:
    plain(root)
    (root / "train/good/9").write_bytes(b"?")
    (root / "test/scratch/9.heic").write_bytes(b"?")
    (root / "train/good/readme.txt").write_bytes(b"not an image, and nobody takes it for one")


@case(0, "2 folders without images are not used: test/dent, test/hole")
def empty_folders(root: Path) -> None:
    plain(root)
    (root / "test/hole").mkdir()
    (root / "test/dent").mkdir()
    (root / "test/dent/readme.txt").write_bytes(b"the images follow")


@case(0, "1 folder without images is not used: hole", FINE, "folder:split=0.7")
def an_empty_folder_beside_good(root: Path) -> None:
    unsplit(root)
    (root / "hole").mkdir()


@case(0, r"1 file is not used: 1 in ground_truth/scratch \(9_mask.png: no image has this")
def a_mask_without_image(root: Path) -> None:
    plain(root)
    shutil.copy(root / f"{MASKS}/0_mask.png", root / f"{MASKS}/9_mask.png")


def black(path: Path) -> None:
    write(path, np.zeros((SIDE, SIDE), np.uint8))


@case()
def black_masks_of_normal_images(root: Path) -> None:
    plain(root)
    for number in range(3):
        black(root / f"ground_truth/good/{number}_mask.png")


@case(0, "1 normal image has a mask that marks a defect; .* the label or the mask: .*good/1.png")
def a_mask_of_a_normal_image(root: Path) -> None:
    black_masks_of_normal_images(root)
    shutil.copy(root / f"{MASKS}/1_mask.png", root / "ground_truth/good/1_mask.png")


@case(0, "1 image has two masks that differ, .* and both count: test/scratch/1.png", FINE)
def two_masks_that_differ(root: Path) -> None:
    plain(root)
    shutil.copy(root / f"{MASKS}/2_mask.png", root / f"{MASKS}/1.png")


@case()
def one_mask_under_two_names(root: Path) -> None:
    plain(root)
    shutil.copy(root / f"{MASKS}/1_mask.png", root / f"{MASKS}/1.png")


def converted(root: Path, *folders: str, suffix: str = ".gif") -> None:
    plain(root)
    for path in [path for folder in folders for path in (root / folder).iterdir()]:
        with Image.open(path) as image:
            image.save(path.with_suffix(suffix))
        path.unlink()


@case(2, "train/good': no images in train; 6 files with the suffix .gif are not read; convert them")
def gif(root: Path) -> None:
    converted(root, "train/good", "test/good", "test/scratch")


@case(2, "test/good': no images in test; 3 files with the suffix .gif are not read; convert them")
def gif_in_test(root: Path) -> None:
    converted(root, "test/good", "test/scratch")


@case(2, "mask '.*/0_mask.gif' is not read; convert it to PNG")
def gif_masks(root: Path) -> None:
    converted(root, MASKS)


@case(0, r"3 files are not used: 3 in ground_truth/scratches \(0_mask.png, ...: this folder", FINE)
def masks_of_no_defect_type(root: Path) -> None:
    plain(root)
    (root / MASKS).rename(root / "ground_truth/scratches")


@case(0, r"1 file is not used: 1 in test \(7.png: only folders within this one are read")
def loose_images(root: Path) -> None:
    plain(root)
    shutil.copy(root / "test/good/0.png", root / "test/7.png")


@case(2, "good/9.png' is a link to a file that does not exist; restore or remove it")
def a_dangling_link(root: Path) -> None:
    plain(root)
    (root / "train/good/9.png").symlink_to(root / "gone.png")


@case(2, "good/9.png' is a link to a file that does not exist; restore or remove it")
def a_link_to_itself(root: Path) -> None:
    plain(root)
    (root / "train/good/9.png").symlink_to("9.png")


@case(0, r"1 file is not used: 1 in train/good \(9: a link to what does not exist")
def a_link_to_itself_without_a_suffix(root: Path) -> None:
    plain(root)
    (root / "train/good/9").symlink_to("9")


@case()
def a_link_to_a_folder_above(root: Path) -> None:
    plain(root)
    (root / "train/good/again").symlink_to(root / "train")


@case()
def what_systems_leave_behind(root: Path) -> None:
    plain(root)
    for folder in ("train/good", "test/scratch", MASKS):
        for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (root / folder / name).write_bytes(b"\0\5\26\7")
        for place in (".ipynb_checkpoints", "@eaDir/0.png", ".Trash-1000/files", ".thumbnails"):
            black(root / folder / place / "0-checkpoint.png")
    (root / "__MACOSX/train/good").mkdir(parents=True)
    (root / "__MACOSX/train/good/._0.png").write_bytes(b"\0\5\26\7")
    (root / ".git").mkdir()
    (root / ".git/config").write_bytes(b"")
    (root / ".gitattributes").write_bytes(b"")


@case(
    0,
    r"3 files are not used: 1 in .kept \(7.png: hidden\), 1 in test/.old \(8.png: hidden\), "
    r"1 in train/good \(.9.png: hidden\)",
)
def hidden_images(root: Path) -> None:
    plain(root)
    for place in (".kept/7.png", "test/.old/8.png", "train/good/.9.png"):
        black(root / place)


@case(0, r"1 file is not used: 1 in ground_truth/scratch \(.7_mask.png: hidden\)")
def a_hidden_mask(root: Path) -> None:
    plain(root)
    black(root / MASKS / ".7_mask.png")


@case(
    0,
    r"3 files are not used: 1 in parts \(7.png: only folders within this one are read\), "
    r"1 in .old/good \(9.png: hidden\), 1 in bolt/good \(9.png: this folder is not read\)",
)
def images_beside_a_category(root: Path) -> None:
    plain(root / "nut")
    for place in ("7.png", "bolt/good/9.png", ".old/good/9.png"):
        black(root / place)
    (root / "parts.zip").write_bytes(b"")


@case(0, r"1 file is not used: 1 in parts \(bolt: a link to what does not exist\)")
def a_dangling_link_beside_a_category(root: Path) -> None:
    plain(root / "nut")
    (root / "bolt").symlink_to(root / "gone")


@case()
def a_folder_of_a_mac_beside_a_category(root: Path) -> None:
    plain(root / "nut")
    what_systems_leave_behind(root / "rest")
    (root / "rest/__MACOSX").rename(root / "__MACOSX")
    shutil.rmtree(root / "rest")


@case(0, "1 file is not used: 1 in train/good .9.png: not a regular file")
def a_pipe(root: Path) -> None:
    plain(root)
    os.mkfifo(root / "train/good/9.png")


@case()
def defects_in_folders_of_folders(root: Path) -> None:
    plain(root)
    for split in ("test", "ground_truth"):
        (root / split / "scratch").rename(root / split / "deep")
        (root / split / "bad").mkdir()
        (root / split / "deep").rename(root / split / "bad/deep")


@case(2, "test/all/good' has the name of normal images, but is in a folder of defects; move it to")
def normal_images_in_a_folder_of_defects(root: Path) -> None:
    plain(root)
    (root / "test/all").mkdir()
    for name in ("good", "scratch"):
        (root / "test" / name).rename(root / "test/all" / name)


@case(2, "train/good/bad' has the name of defects, but is in a folder of normal images; move it to")
def defects_in_a_folder_of_normal_images(root: Path) -> None:
    plain(root)
    (root / "test/scratch").rename(root / "train/good/bad")


@case(2, "test/good/Scratch' has the name of defects, but is in a folder of normal images; move it")
def a_defect_type_in_a_folder_of_normal_images(root: Path) -> None:
    plain(root)
    (root / "test/scratch").rename(root / "test/good/Scratch")


@case()
def normal_images_in_a_folder_of_normal_images(root: Path) -> None:
    plain(root)
    (root / "train/good").rename(root / "train/ok")
    (root / "train/good").mkdir()
    (root / "train/ok").rename(root / "train/good/ok")


def nearly_good(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        plain(root)
        for number in range(2):
            pixels = scene(np.random.default_rng(9 + number))
            write(root / f"test/{name}/{number}.png", pixels)

    return make


for _name in (
    *("good2", "good ", "Good_02", "ok (1)", "good - copy", "defect_free", "Defect-Free"),
    *("no_defect", "pass", "passed", "negative", "nominal", "clean", "healthy", "intact"),
):
    CASES[f"a_folder_{_name}"] = Case(
        nearly_good(_name),
        2,
        rf"test/{re.escape(_name)}' has a name of normal images, but would be a defect",
    )
CASES["unlabelled_images"] = Case(
    nearly_good("unlabeled"),
    2,
    "test/unlabeled' has the name of images without labels, but would be a defect type; list them",
)


@case(0, "", FINE)
def a_defect_type_that_begins_as_normal(root: Path) -> None:
    moved(root, test__scratch="ok_but_bent", ground_truth__scratch="ok_but_bent")


@case(0, "1 of 7 test images are copies of training images: test/ok/0.png is train/good/0.png")
def good_and_ok(root: Path) -> None:
    plain(root)
    (root / "test/ok").mkdir()
    shutil.copy(root / "train/good/0.png", root / "test/ok/0.png")


@case(0, "no normal test image: .* cannot be computed", FINE)
def a_misspelt_good(root: Path) -> None:
    plain(root)
    (root / "test/good").rename(root / "test/goood")


def masks_called(*names: str) -> Callable[[Path], None]:
    """The plain data set, its masks with these names in turn."""

    def make(root: Path) -> None:
        plain(root)
        for number in range(3):
            name = names[number % len(names)].format(number)
            (root / f"{MASKS}/{number}_mask.png").rename(root / f"{MASKS}/{name}.png")

    return make


for _name in ("{}_gt", "{}_label", "{}_seg", "{}-mask", "{}_Mask", "mask_{}", "GT-{}"):
    CASES[f"masks_called_{_name}"] = Case(masks_called(_name))
for _names in (("{}_gt", "{}_seg"), ("{}_gt", "{}_mask"), ("mask_{}", "{}_gt"), ("{}_other",)):
    CASES[f"masks_called_{' and '.join(_names)}"] = Case(
        masks_called(*_names), 2, r"png': no mask in '.*ground_truth/scratch'; add ._mask.png"
    )


@case(2, r"scratch/0.png': no mask in '.*ground_truth/scratch'; add 0_mask.png")
def one_mask_too_many_of_another_ending(root: Path) -> None:
    masks_called("{}_gt")(root)
    shutil.copy(root / f"{MASKS}/0_gt.png", root / f"{MASKS}/9_gt.png")


@case(
    2, "scratch/0_mask.png' has the name of a mask, but is among the images; move it to '.*scratch'"
)
def masks_beside_their_images(root: Path) -> None:
    plain(root)
    for path in (root / MASKS).iterdir():
        path.rename(root / "test/scratch" / path.name)


@case(
    2,
    "train/good/0_mask.png' has the name of a mask, but is among the images; move it to '.*/good'",
)
def masks_beside_normal_images(root: Path) -> None:
    plain(root)
    for number in range(6):
        black(root / f"train/good/{number}_mask.png")


@case(2, "scratch/0_GT.png' has the name of a mask, but is among the images; move it to")
def masks_beside_their_images_with_another_ending(root: Path) -> None:
    plain(root)
    for path in (root / MASKS).iterdir():
        path.rename(root / "test/scratch" / path.name.replace("_mask", "_GT"))
    shutil.rmtree(root / "ground_truth")


@case(2, "scratch/0.jpg': another file in this folder has the same name; rename it")
def two_images_of_one_name(root: Path) -> None:
    plain(root)
    Image.open(root / "test/scratch/0.png").save(root / "test/scratch/0.jpg")


@case(2, r"test/scratch/1.png': no mask in '.*ground_truth/scratch'; add 1_mask.png")
def a_missing_mask(root: Path) -> None:
    plain(root)
    (root / f"{MASKS}/1_mask.png").unlink()


@case(0, "", ALIGNED)
def suffix_jfif(root: Path) -> None:
    plain(root, suffix=".jpg")
    for path in root.glob("t*/*/*.jpg"):
        path.rename(path.with_suffix(".jfif"))


files("suffix_ppm", suffix=".pgm")


@case(0, "", ALIGNED)
def suffix_in_capitals(root: Path) -> None:
    plain(root, suffix=".jpg")
    for path in root.glob("t*/*/*.jpg"):
        path.rename(path.with_suffix(".JPEG"))


@case()
def png_files_called_jpg(root: Path) -> None:
    plain(root)
    for path in root.glob("t*/*/*.png"):
        path.rename(path.with_suffix(".jpg"))


# ---------------------------------------------------------------- copies and sizes


@case(0, "2 of 6 test images are copies of training images: test/good/0.png is train/good/0.png")
def copies(root: Path) -> None:
    plain(root)
    for number in range(2):
        shutil.copy(root / f"train/good/{number}.png", root / f"test/good/{number}.png")


@case(0, "1 of 2 validation images are copies of training images: val/good/9.png is train/good/0.p")
def copies_in_validation(root: Path) -> None:
    val(root)
    shutil.copy(root / "train/good/0.png", root / "val/good/9.png")


@case(0, "1 of 6 test images are copies of validation images: test/good/0.png is val/good/0.png")
def copies_of_validation_in_test(root: Path) -> None:
    val(root)
    shutil.copy(root / "val/good/0.png", root / "test/good/0.png")


@case(
    0, "1 of 6 test images have the pixels of training images: test/good/9.bmp is train/good/0.png"
)
def the_same_pixels_in_another_format(root: Path) -> None:
    plain(root)
    (root / "test/good/0.png").unlink()
    Image.open(root / "train/good/0.png").save(root / "test/good/9.bmp")


@case(
    0, "1 of 2 validation images have the pixels of training images: val/good/9.bmp is train/good"
)
def the_same_pixels_in_validation(root: Path) -> None:
    val(root)
    Image.open(root / "train/good/0.png").save(root / "val/good/9.bmp")


@case(0, "1 of 6 test images are copies of training images: test/good/1.png is train/good/x.png")
def a_link_to_a_test_image(root: Path) -> None:
    plain(root)
    (root / "train/good/x.png").symlink_to(root / "test/good/1.png")


@case(0, "2 of 8 test images are copies of other test images: test/scratch/8.png is test/.*", FINE)
def copies_within_test(root: Path) -> None:
    plain(root)
    for number in (8, 9):
        shutil.copy(root / "test/scratch/2.png", root / f"test/scratch/{number}.png")
        shutil.copy(root / f"{MASKS}/2_mask.png", root / f"{MASKS}/{number}_mask.png")


@case(0, "1 of 7 test images have the pixels of other test images: test/good/9.bmp is test/", FINE)
def the_same_pixels_within_test(root: Path) -> None:
    plain(root)
    Image.open(root / "test/good/0.png").save(root / "test/good/9.bmp")


@case(0, "1 test image has the bytes of another one with another label: .* is ", FINE)
def a_test_image_of_two_labels(root: Path) -> None:
    plain(root)
    (source,) = sorted(root.glob("test/*/0.png"), key=lambda p: p.parent.name == "good")[:1]
    shutil.copy(source, root / "test/good/again.png")


@case(0, "", FINE)
def a_link_to_the_folder_above(root: Path) -> None:
    plain(root)
    (root / "test/good/loop").symlink_to(root / "test")


@case(0, "", FINE)
def mixed_sizes(root: Path) -> None:
    plain(root)
    for number, path in enumerate(sorted(root.glob("t*/good/*.png"))):
        Image.open(path).resize((SIDE + number, SIDE + 2 * number)).save(path)


@case(0, "", ALIGNED)
def tiny(root: Path) -> None:
    plain(root)
    for path in root.rglob("*.png"):
        Image.open(path).resize((8, 8), Image.Resampling.NEAREST).save(path)


@case(1, r"0.png' has 30000 x 30000 px; at most 134,217,728 px are read: scale it down")
def a_huge_image(root: Path) -> None:
    plain(root)
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    (root / "train/good/0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


@case(0, "1 of 12 images are more than 20 times as long as wide", FINE)
def a_strip(root: Path) -> None:
    plain(root)
    write(root / "train/good/0.png", np.full((1, 20_000), 120, np.uint8))


@case(1, r"0.png' has 3,221,225,472 bytes; at most 2,147,483,648 are read: check the file, or cut")
def a_huge_file(root: Path) -> None:
    plain(root)
    os.truncate(root / "train/good/0.png", 3 * 2**30)  # it takes no room on the disk


@case(1, "0.tif' is a TIFF whose first image is a preview; save the image that it shows in a file")
def a_preview(root: Path) -> None:
    plain(root)
    pixels = colors(np.asarray(Image.open(root / "train/good/0.png")))
    (root / "train/good/0.png").unlink()
    tifffile.imwrite(root / "train/good/0.tif", pixels, photometric="rgb", subfiletype=1)


@case(1, "0.tiff' holds 2 images; save each in a file of its own")
def pages(root: Path) -> None:
    plain(root)
    (root / "train/good/0.png").unlink()
    tifffile.imwrite(root / "train/good/0.tiff", np.zeros((2, SIDE, SIDE), np.uint8))


@case(1, "0.png' holds 2 images; save each in a file of its own")
def an_animation(root: Path) -> None:
    plain(root)
    first, second = (Image.open(root / f"train/good/{number}.png") for number in range(2))
    first.save(root / "train/good/0.png", save_all=True, append_images=[second])


# ---------------------------------------------------------------- names


def renamed(root: Path, name: bytes) -> None:
    plain(root)
    for folder in ("train/good", "test/good"):
        (root / folder / "0.png").rename(root / folder / os.fsdecode(name))


@case()
def a_name_that_is_not_utf8(root: Path) -> None:
    renamed(root, b"caf\xe9.png")


@case()
def a_name_with_a_line_break(root: Path) -> None:
    renamed(root, b"a\n\t'\"<b>,;.png")


@case()
def a_name_of_other_letters(root: Path) -> None:
    renamed(root, "schräg 欠陥 🔧.png".encode())


@case()
def a_defect_type_that_is_not_utf8(root: Path) -> None:
    plain(root)
    for folder in ("test", "ground_truth"):
        (root / folder / "scratch").rename(root / folder / os.fsdecode(b"rayur\xe9"))


# ---------------------------------------------------------------- what is absent


@case(0, "no anomalous test image: metrics that compare .* cannot be computed", FINE)
def no_defects(root: Path) -> None:
    plain(root)
    shutil.rmtree(root / "test/scratch")
    shutil.rmtree(root / MASKS)


@case(0, "no masks: metrics of pixels .* cannot be computed", FINE)
def no_masks(root: Path) -> None:
    plain(root)
    shutil.rmtree(root / "ground_truth")


@case(0, "no normal test image: metrics that compare images .* cannot be computed", FINE)
def no_normal_test_images(root: Path) -> None:
    plain(root)
    shutil.rmtree(root / "test/good")


@case(0, "without a mask are left out of pixel metrics: 3 of dent", FINE)
def a_defect_type_without_masks(root: Path) -> None:
    plain(root)
    shutil.copytree(root / "test/scratch", root / "test/dent")


@case(
    0, "the test images have no labels: there are scores, but no metric", FINE, "folder:table=t.csv"
)
def no_labels(root: Path) -> None:
    listed(
        root, lambda split, label, path, mask: (path, split, "0" if split == "train" else "", "")
    )


@case(0, "2 defective images outside of the test split are not used")
def defects_in_train(root: Path) -> None:
    plain(root)
    for number in range(2):
        write(root / f"train/dent/{number}.png", scene(np.random.default_rng(9 + number)))


# ---------------------------------------------------------------- layouts


def moved(root: Path, **names: str) -> None:
    plain(root)
    for old, new in names.items():
        path = root / old.replace("__", "/")
        path.rename(path.with_name(new))


@case(0, "", ALIGNED)
def ok_and_ng(root: Path) -> None:
    moved(root, train__good="OK", test__good="OK", test__scratch="NG", ground_truth__scratch="NG")


@case()
def training_and_testing(root: Path) -> None:
    moved(root, train="Training", test="testing")


@case(2, "has the folders train and training, which mean the same; join them")
def train_and_training(root: Path) -> None:
    plain(root)
    shutil.copytree(root / "train", root / "training")


@case(2, r"expected good \(or ok or normal\) beside folders of", folder="folder:split=0.7")
def a_share_of_unknown_names(root: Path) -> None:
    unsplit(root, good="fine")


@case()
def masks_in_a_folder_of_that_name(root: Path) -> None:
    moved(root, ground_truth="masks")


@case()
def masks_in_a_folder_mask(root: Path) -> None:
    moved(root, ground_truth="mask")


AMONG = "has the name of a folder of masks, but is among the images; move it to 'ground_truth/<d"


@case(2, f"test/ground_truth' {AMONG}")
def masks_in_test(root: Path) -> None:
    plain(root)
    (root / "ground_truth").rename(root / "test/ground_truth")


@case(2, f"test/scratch/masks' {AMONG}")
def masks_in_a_folder_beside_their_images(root: Path) -> None:
    plain(root)
    (root / MASKS).rename(root / "test/scratch/masks")


@case()
def val(root: Path) -> None:
    plain(root)
    write(root / "val/good/0.png", scene(np.random.default_rng(7)))


def unsplit(root: Path, good: str = "good", bad: str = "scratch") -> None:
    plain(root)
    for split in ("train", "test"):
        for path in (root / split / "good").iterdir():
            (root / good).mkdir(exist_ok=True)
            path.rename(root / good / f"{split}{path.name}")
    (root / "test/scratch").rename(root / bad)
    (root / MASKS).rename(root / "ground_truth" / bad)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "test")


@case(2, r"has normal images, but no train and test; add split=0.8 to train on 80%")
def good_beside_bad(root: Path) -> None:
    unsplit(root)


@case(0, "", ALIGNED, "folder:split=0.7")
def good_beside_bad_and_a_share(root: Path) -> None:
    unsplit(root)


@case(0, "", ALIGNED, "folder:split=0.7")
def ok_beside_ng_and_a_share(root: Path) -> None:
    unsplit(root, "OK", "NG")


@case(
    2,
    "/val' has the name of a split, but '.*' has no train and test; add",
    folder="folder:split=0.7",
)
def validation_beside_good_and_bad(root: Path) -> None:
    unsplit(root)
    write(root / "val/0.png", scene(np.random.default_rng(7)))


@case(2, "is split by its folders already; leave split=0.7 out", folder="folder:split=0.7")
def a_share_of_what_is_split(root: Path) -> None:
    plain(root)


files("share_of_2", 2, "split must be from 0 to 1, not 2", folder="folder:split=2")


def listed(
    root: Path,
    row: Callable[[str, str, str, str], tuple[str, ...]],
    header: str = "path,split,label,mask",
    separator: str = ",",
) -> None:
    """The plain data set in a table ``t.csv``, whose folders say nothing any more."""
    plain(root)
    lines = [header]
    for path in sorted(root.glob("t*/*/*.png")):
        split, folder, _ = path.relative_to(root).parts
        normal = folder == "good"
        inside = path.relative_to(root).as_posix()
        mask = "" if normal else f"{MASKS}/{path.stem}_mask.png"
        lines.append(separator.join(row(split, "0" if normal else "1", inside, mask)))
    (root / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


def usual(split: str, label: str, path: str, mask: str) -> tuple[str, ...]:
    return path, split, label, mask


TABLE = "folder:table=t.csv"


@case(folder=TABLE)
def table(root: Path) -> None:
    listed(root, usual)


@case(folder=TABLE)
def table_with_usual_names(root: Path) -> None:
    listed(root, lambda *r: ("nut", *usual(*r)), "object,image_path,split,anomaly,mask_path")


@case(folder=TABLE)
def table_with_words(root: Path) -> None:
    def row(split: str, label: str, path: str, mask: str) -> tuple[str, ...]:
        return path, {"train": "Training", "test": "testing"}[split], ("OK", "NG")[int(label)], mask

    listed(root, row)


@case(folder=TABLE)
def table_with_semicolons(root: Path) -> None:
    listed(root, usual, "image_path;split;label;mask", ";")


@case(folder=TABLE)
def table_with_tabs(root: Path) -> None:
    listed(root, usual, "filename\tsplit\tlabel\tmask", "\t")


@case(folder=TABLE)
def table_with_back_slashes(root: Path) -> None:
    listed(root, lambda *r: tuple(cell.replace("/", "\\") for cell in usual(*r)))


@case(0, "columns of 't.csv' that are not used: without a name, camera", folder=TABLE)
def table_with_other_columns(root: Path) -> None:
    listed(root, lambda *r: ("7", *usual(*r), "left"), ",path,split,label,mask,camera")


@case(0, "", ALIGNED, "folder:table=t.csv:split=0.6")
def table_without_a_split(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, label, mask), "path,label,mask")


@case(folder=TABLE)
def table_with_absolute_paths(root: Path) -> None:
    listed(
        root, lambda s, label, path, mask: (f"{root / path}", s, label, mask and f"{root / mask}")
    )


def rewritten(root: Path, change: Callable[[str], str], encoding: str = "utf-8-sig") -> None:
    listed(root, usual)
    text = change((root / "t.csv").read_text(encoding="utf-8-sig"))
    (root / "t.csv").write_bytes(text.encode(encoding))


@case(folder=TABLE)
def table_with_line_ends_of_windows(root: Path) -> None:
    rewritten(root, lambda text: text.replace("\n", "\r\n"))


@case(folder=TABLE)
def table_with_line_ends_of_old_macs(root: Path) -> None:
    rewritten(root, lambda text: text.replace("\n", "\r"))


@case(folder=TABLE)
def table_with_a_quoted_comma(root: Path) -> None:
    rewritten(root, lambda text: text.replace("test/good/0.png", '"test/good/a,b.png"'))
    (root / "test/good/0.png").rename(root / "test/good/a,b.png")


@case(2, "t.csv' cannot be read: 'utf-8' codec can't decode .*; save it as UTF-8", folder=TABLE)
def table_in_utf_16(root: Path) -> None:
    rewritten(root, str, "utf-16")


@case(
    0, "6 images outside of the test split have no label and count as normal: .*0.png", SAME, TABLE
)
def table_with_training_images_without_a_label(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, s, label if s == "test" else "", mask))


@case(2, "line 3, column 'category': 'nut' is 'Nut' on line 2; write them alike", folder=TABLE)
def table_with_a_category_in_other_capitals(root: Path) -> None:
    listed(
        root,
        lambda *r: (*usual(*r), "Nut" if r[2] == "test/good/0.png" else "nut"),
        "path,split,label,mask,category",
    )


@case(2, "column 'defect': 'Scratch' is 'scratch' on line 5; write them alike", folder=TABLE)
def table_with_a_defect_type_in_other_capitals(root: Path) -> None:
    listed(
        root,
        lambda *r: (*usual(*r), "" if r[1] == "0" else "Scratch" if "/2" in r[3] else "scratch"),
        "path,split,label,mask,defect",
    )


@case(2, "line 14, column 'path': '.*' is already on line 3; keep one", folder=TABLE)
def table_with_an_image_twice(root: Path) -> None:
    rewritten(root, lambda text: text + "./test/good/1.png,test,0,\n")


@case(2, "line 14, column 'path': '.*' is already on line 3; keep one", folder=TABLE)
def table_with_an_image_in_both_splits(root: Path) -> None:
    rewritten(root, lambda text: text + "test/scratch/../good/1.png,train,0,\n")


@case(2, "line 14, column 'path': '.*' is already on line 3; keep one", folder=TABLE)
def table_with_an_image_of_two_labels(root: Path) -> None:
    rewritten(root, lambda text: text + f"test/good/1.png,test,1,{MASKS}/1_mask.png\n")


@case(2, "line 5, column 'label': '-1' is not 0, 1, normal, anomalous or empty", folder=TABLE)
def table_with_labels_1_and_minus_1(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, s, ("1", "-1")[int(label)], mask))


@case(2, "column 'mask': '.*/2.png' has none, but others of 'anomalous' have; add it", folder=TABLE)
def table_with_a_mask_missing(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, s, label, mask * (f"{MASKS}/2" not in mask)))


@case(2, "line 2, column 'path': file '.*' not found; correct it", folder=TABLE)
def table_with_other_capitals(root: Path) -> None:
    rewritten(root, lambda text: text.replace(".png,", ".PNG,"))


@case(0, "3 normal images have a mask that marks a defect", FINE, TABLE)
def table_whose_images_are_all_normal(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, s, "0", mask))


@case(folder=TABLE)
def table_with_spaces(root: Path) -> None:
    listed(root, usual, "path, split, label, mask", ", ")


@case(2, "line 1: no column 'path'; add it", folder=TABLE)
def table_without_a_header(root: Path) -> None:
    rewritten(root, lambda text: text.partition("\n")[2])


@case(folder=TABLE)
def table_with_nan_for_no_mask(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, s, label, mask or "nan"))


@case(2, "no column 'split'; add it, or draw one with split=0.8", folder=TABLE)
def table_without_a_split_or_a_share(root: Path) -> None:
    listed(root, lambda s, label, path, mask: (path, label, mask), "path,label,mask")


@case(2, "unknown column 'labl' .did you mean 'label'", folder=TABLE)
def table_with_a_typing_error(root: Path) -> None:
    listed(root, usual, "path,split,labl,mask")


@case(2, "column 'label' appears twice; keep one", folder=TABLE)
def table_with_two_labels(root: Path) -> None:
    listed(root, lambda *r: (*usual(*r), r[1]), "path,split,label,mask,anomaly")


@case(0, "1 of 6 test images have no label: they are scored, but no metric uses them", FINE, TABLE)
def table_with_a_label_missing(root: Path) -> None:
    def row(split: str, label: str, path: str, mask: str) -> tuple[str, ...]:
        return (
            path,
            split,
            "" if path.startswith("test/") and path.endswith("/2.png") and mask else label,
            mask,
        )

    listed(root, row)


files(
    "table_that_is_not_there", 2, r"x.csv' cannot be read: No such file or directory; correct the",
    folder="folder:table=x.csv",
)  # fmt: skip


MARKED = "1 normal image has a mask that marks a defect; it is not used, so correct the label or"


@case(0, f"{MARKED} the mask: test/good/1.png", folder=TABLE)
def table_with_a_mask_of_a_normal_image(root: Path) -> None:
    def row(split: str, label: str, path: str, mask: str) -> tuple[str, ...]:
        return path, split, label, f"{MASKS}/2_mask.png" if path == "test/good/1.png" else mask

    listed(root, row)


@case(0, "3 images share a mask with another one: test/scratch/0.png, ", FINE, TABLE)
def table_with_one_mask_for_all(root: Path) -> None:
    listed(root, lambda *r: (*r[2:3], r[0], r[1], r[3] and f"{MASKS}/0_mask.png"))


@case(folder=TABLE)
def table_with_black_masks_of_normal_images(root: Path) -> None:
    black(root / "black.png")
    listed(root, lambda *r: usual(*r[:3], r[3] or "black.png"))


UNLISTED = "2 images that the table does not list are not used: more/7.png, ..."


def with_images_that_are_not_listed(root: Path) -> None:
    black(root / "more/7.png")
    black(root / "more/8.png")


@case(0, UNLISTED, folder=TABLE)
def table_beside_images_that_it_does_not_list(root: Path) -> None:
    listed(root, usual)
    with_images_that_are_not_listed(root)


@case(0, UNLISTED, FINE, "folder:table=t.csv:split=0.6")
def table_without_a_split_beside_images_that_it_does_not_list(root: Path) -> None:
    table_without_a_split(root)
    with_images_that_are_not_listed(root)


# ---------------------------------------------------------------- the tests


@pytest.fixture
def run(tmp_path: Path, toys: str, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Any:
    """Runs a small model on a folder; gives the exit code, what was printed, and the result."""
    monkeypatch.setenv("COLUMNS", "100000")

    def make(root: Path, folder: str = "folder", *more: str) -> tuple[int, str, Any]:
        out = tmp_path / "out"
        arguments = ["run", "--plugins", toys, "--models", "toy-mean", "--preprocessors", "none"]
        arguments += ["--datasets", folder, "--data", f"folder={root}", "--out", str(out)]
        arguments += ["--metrics", "image_auroc,pixel_ap,aupro", *more]
        code = main(arguments)
        printed = capfd.readouterr()  # also what decoders print
        results = list(Store(out).read()) if out.exists() else []
        return code, printed.out + printed.err, results[0] if results else None

    return make


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The numbers of the plain data set."""
    root = tmp_path_factory.mktemp("control")
    plain(root / "parts")
    arguments = ["--plugins", str(Path(__file__).parents[1] / "toys.py"), "--models", "toy-mean"]
    arguments += ["--preprocessors", "none", "--datasets", "folder", "--out", str(root / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADBENCH_CACHE", str(root / "cache"))
        assert main(["run", *arguments, "--data", f"folder={root / 'parts'}"]) == 0
    return dict(next(Store(root / "out").read()).metrics)


@pytest.mark.parametrize("name", CASES)
def test_an_input_is_read_right_or_refused(
    tmp_path: Path, run: Any, control: dict[str, float], name: str
) -> None:
    one, root = CASES[name], tmp_path / "parts"
    one.make(root)
    code, printed, result = run(root, one.folder)
    assert code == one.code, printed
    assert "Traceback" not in printed
    if one.code == 2:
        [said] = printed.splitlines()
        assert re.fullmatch(rf"adbench: error: .*{one.line}.*", said), said
        return
    if one.code == 1:
        assert re.search(one.line, result.failures[0].message), result.failures[0].message
        assert re.search(one.line, printed)
        assert not re.search(r"^(libpng|Corrupt|Premature|\[ERROR|\w*TIFF)", printed, re.MULTILINE)
        return
    notes = result.provenance.get("notes", [])
    if one.line:
        assert re.search(one.line, "\n".join(notes)), notes
        assert re.search(one.line, printed.partition("scores in")[2] or printed), printed
    elif one.values in (SAME, ALIGNED):
        assert not notes
    if isinstance(one.values, float):
        assert result.metrics["pixel_ap"] > one.values
    elif one.values != FINE:
        assert set(result.metrics) >= {"image_auroc", "pixel_ap", "aupro"}
        tolerance = 1e-9 if one.values == SAME else 0.05
        for metric in ("image_auroc", "pixel_ap", "aupro"):
            assert result.metrics[metric] == pytest.approx(control[metric], abs=tolerance), metric


def test_what_a_plan_says_of_its_images_is_on_the_board_too(
    tmp_path: Path, run: Any, capfd: Any
) -> None:
    copies(tmp_path)
    note = "2 of 6 test images are copies of training images: test/good/0.png is train/good/0.png"
    _, planned, _ = run(tmp_path, "folder", "--explain")
    run(tmp_path)
    assert main(["leaderboard", str(tmp_path / "out")]) == 0
    board = capfd.readouterr().out
    for text in (planned, board):
        assert f"folder/{tmp_path.name}: {note}, and so on\n" in text


def test_copies_among_the_images_that_are_held_out(tmp_path: Path, run: Any) -> None:
    plain(tmp_path)
    for number in range(6):
        shutil.copy(tmp_path / f"train/good/{number}.png", tmp_path / f"train/good/x{number}.png")
    _, planned, _ = run(tmp_path, "folder", "--explain", "--validation", "0.1")
    assert "1 of 1 validation images are copies of training images: train/good/" in planned


def test_splits_of_two_folders_of_one_name_are_never_averaged(
    tmp_path: Path, run: Any, capfd: Any
) -> None:
    first, second = tmp_path / "a/parts", tmp_path / "b/parts"
    for root in (first, second):
        unsplit(root)
    path = second / "good/test0.png"
    write(path, 255 - cv2.imread(str(path), 0))

    def board() -> str:
        assert main(["leaderboard", str(tmp_path / "out")]) == 0
        return str(capfd.readouterr().out)

    run(first, "folder:split=0.7", "--split-seeds", "0,1")
    alone = board()
    run(first, "folder:split=0.7", "--split-seeds", "2,3")
    assert "different images" not in board()
    run(second, "folder:split=0.7", "--split-seeds", "4,5")
    both = board()
    assert "different images" not in alone
    assert "one data set was run on different images; each set of images is named" in both
    assert len(set(re.findall(r"images [0-9a-f]{8}", both))) == 2


def test_masks_that_look_inverted_are_named_before_a_trial_starts(tmp_path: Path, run: Any) -> None:
    CASES["masks_inverted"].make(tmp_path)
    note = "3 of 3 anomalous images have a mask that covers more than half of the image"
    code, planned, result = run(tmp_path, "folder", "--explain")
    assert (code, result) == (0, None)
    assert note in " ".join(planned.split())
    _, _, result = run(tmp_path)
    assert sum(text.startswith(note) for text in result.provenance["notes"]) == 1


@pytest.mark.parametrize("name", ["masks_jpeg", "bits_12", "masks_alpha", "masks_raised"])
def test_files_that_are_read_by_another_rule_make_another_trial(tmp_path: Path, name: str) -> None:
    CASES[name].make(tmp_path)
    samples = listed_samples(Folder(), tmp_path, tmp_path.name, "unsupervised", 0)
    plainly = [replace(sample, depth=8, mask_rules=()) for sample in samples]
    assert folders.fingerprint(tmp_path, samples) != folders.fingerprint(tmp_path, plainly)


class TestVerify:
    """``adbench data verify`` takes what a run takes, and says what it saw."""

    @pytest.fixture(autouse=True)
    def wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "100000")

    @pytest.fixture
    def verify(self, tmp_path: Path, capfd: Any) -> Any:
        def make(name: str, dataset: str = "folder") -> tuple[int, str]:
            CASES[name].make(tmp_path / "parts")
            code = main(["data", "verify", dataset, "--data", f"folder={tmp_path / 'parts'}"])
            return code, capfd.readouterr().out

        return make

    def test_the_range_of_values(self, verify: Any) -> None:
        code, said = verify("bits_12")
        assert code == 0
        assert re.search(
            r"parts: 6 train, 3 good and 3 defective test images of 1 type, 3 masks, values \d{3} "
            r"to 2\d{3}, see the notes\n",
            said,
        )
        assert "    note: images are read with 12 bits: 0 is black and 4095 is white\n" in said

    def test_a_table(self, verify: Any) -> None:
        code, said = verify("table", TABLE)
        assert code == 0
        assert re.search(r", 3 masks, values \d+ to \d+, ok\n$", said)
        assert "  t: 6 train, 3 good and 3 defective test images of 1 type, 3 masks" in said

    def test_images_without_a_label_are_not_counted_as_good(self, verify: Any) -> None:
        code, said = verify("table_with_a_label_missing", TABLE)
        assert code == 0
        assert "6 train, 3 good and 2 defective test images of 1 type and 1 without a" in said

    @pytest.mark.parametrize(
        "name",
        [
            *("masks_jpeg", "masks_inverted", "copies", "other_suffixes", "no_masks"),
            *("hidden_images", "images_beside_a_category", "copies_in_validation"),
            "bits_of_fractions",
        ],
    )
    def test_notes(self, verify: Any, name: str) -> None:
        code, said = verify(name)
        assert code == 0
        assert "see the notes" in said
        assert re.search(f"    note: .*{CASES[name].line}", said)

    def test_a_fault_of_all_images_is_said_once(self, verify: Any) -> None:
        code, said = verify("floats")
        assert code == 1
        [line] = re.findall("wrong: (.*)", said)
        assert re.search("train/good/0.tiff' holds values of type float32; convert it", line)
        assert line.endswith("(the same holds for 11 more images)")

    def test_a_folder_that_is_refused(self, verify: Any) -> None:
        code, said = verify("gif")
        assert code == 1
        assert "  parts: refused\n    wrong: " in said

    @pytest.mark.parametrize(
        "name",
        [
            "turned_by_180",
            "cut_off.jpg",
            "jpeg_with_a_hole",
            "bits_of_both_kinds",
            "bits_of_16_among_8",
            "one_image_in_cielab",
            "a_preview",
            "a_huge_file",
            "a_folder_good2",
        ],
    )
    def test_what_a_run_refuses_is_wrong(self, verify: Any, name: str) -> None:
        code, said = verify(name)
        assert code == 1
        assert re.search(f"    wrong: .*{CASES[name].line}", said)

    def test_images_that_look_alike(self, tmp_path: Path, capfd: Any) -> None:
        plain(tmp_path)
        rng = np.random.default_rng(0)
        photograph = cv2.resize(rng.integers(0, 256, (40, 40, 3), np.uint8), (200, 160))
        write(tmp_path / "train/good/7.png", photograph)
        write(tmp_path / "test/good/7.jpg", cv2.resize(photograph, (150, 120)))
        assert main(["data", "verify", "folder", "--data", f"folder={tmp_path}"]) == 0
        said = capfd.readouterr().out
        assert "1 test image looks like training images: test/good/7.jpg like train/good/7" in said

    def test_masks_that_were_published_and_are_not_there(self) -> None:
        found = [Sample(Path(f"{i}.png"), "train", 0) for i in range(209)]
        found += [Sample(Path(f"good{i}.png"), "test", 0) for i in range(20)]
        found += [Sample(Path(f"bad{i}.png"), "test", 1, (), f"defect{i % 3}") for i in range(63)]
        assert MVTecAD().departure("bottle", found) == (
            "63 of 63 defective test images have no mask"
        )


def test_soft_masks_of_a_data_set_that_cuts_above_0_are_noted(tmp_path: Path) -> None:
    plain(tmp_path / "sized", mask=blurred)
    plain(tmp_path / "plain")
    for name, noted in (("sized", True), ("plain", False)):
        dataset = Folder(mask_threshold=0)
        notes = category(dataset, tmp_path, name).notes
        assert any("above 0 counts" in note for note in notes) == noted


def test_a_resized_image_must_fit_the_memory() -> None:
    path = Path("strip.png")
    geometry.check(path, InputSpec(256, 224), (1000, 4000))
    geometry.check(path, InputSpec(256, None), (1, 20_000))  # squashed
    with pytest.raises(UserError, match=r"strip.png' has 20000 x 1 px and would be resized to"):
        geometry.check(path, InputSpec(256, 224), (1, 20_000))


def test_a_name_that_is_not_utf8_reaches_the_site(tmp_path: Path, run: Any, toys: str) -> None:
    a_defect_type_that_is_not_utf8(tmp_path / "parts")
    (tmp_path / "parts/test/good/0.png").rename(
        tmp_path / "parts/test/good" / os.fsdecode(b"\xe9.png")
    )
    run(tmp_path / "parts", "folder", "--keep-maps")
    arguments = ["--plugins", toys, "--data", f"folder={tmp_path / 'parts'}"]
    assert main(["report", str(tmp_path / "out"), "-o", str(tmp_path / "site"), *arguments]) == 0
    pages = "".join(path.read_text() for path in (tmp_path / "site").rglob("*.html"))
    assert "rayur\\xe9" in pages


def test_there_are_enough_cases() -> None:
    assert len(CASES) > 160
