"""Image folders in the layout of MVTec AD, which most public data sets follow."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from adbench_harness.errors import UserError, nearest
from adbench_harness.types import GOOD, SPLITS, Sample, Split

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


class Names(NamedTuple):
    """The names that a data set gives to the folders of a category."""

    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    truth: str = "ground_truth"
    good: str = GOOD


MVTEC = Names()


def folders(parent: Path) -> list[Path]:
    """The folders in ``parent`` by name, without hidden ones; empty if it is not a folder."""
    return [path for path in _visible(parent) if path.is_dir()]


def images(folder: Path) -> list[Path]:
    """The image files in ``folder`` by name, without hidden ones; empty if it is not a folder."""
    return [path for path in _visible(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]


def _visible(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    paths = (path for path in parent.iterdir() if not path.name.startswith("."))
    return sorted(paths, key=lambda path: path.name)


def home(root: Path, holds: Callable[[Path], bool]) -> Path:
    """``root``, or the folder in it for which ``holds`` is true.

    Some archives put everything into one folder.
    """
    return next((path for path in (root, *folders(root)) if holds(path)), root)


def how_to_get(dataset: str) -> str:
    """The next step if the folders of a data set that can be fetched are missing."""
    return f"run 'adbench data fetch {dataset}' or name its folder with --data {dataset}=DIR"


def check_category(category: str, categories: Sequence[str], dataset: str, root: Path) -> None:
    """Raise UserError, with the nearest name, unless ``category`` is one of ``categories``."""
    if category not in categories:
        raise UserError(
            f"{dataset}: no category '{category}' in '{root}'{nearest(category, categories)}; "
            f"choose from {', '.join(categories)}"
        )


def named_split(text: str) -> Split | None:
    """The split that a table's cell names; None if it names no split."""
    return next((split for split in SPLITS if split == text), None)


def check_splits(samples: Iterable[Sample], folder: Path, next_step: str) -> None:
    """Raise UserError, ending in ``next_step``, if there are no training or no test images."""
    present = {sample.split for sample in samples if sample.split != "train" or sample.label != 1}
    for split in ("train", "test"):
        if split not in present:
            what = "normal images" if split == "train" else "images"
            raise UserError(f"'{folder}': no {what} in {split}; {next_step}")


def samples(category: Path, next_step: str, names: Names = MVTEC) -> list[Sample]:
    """The samples in ``category``, by split, defect type and file name.

    Images are in ``train/good``, ``validation/good`` (optional), ``test/good`` and
    ``test/<defect>``; the masks of ``test/<defect>`` are in ``ground_truth/<defect>``, as
    ``<image>`` or ``<image>_mask`` with any image suffix, or several in a folder ``<image>``. A
    defect type without a ``ground_truth`` folder has no pixel truth. Raises UserError if a mask is
    missing or is among the images, and, ending in ``next_step``, if train or test has no images.
    """
    found = []
    truth = category / names.truth
    for split in SPLITS:
        for folder in folders(category / getattr(names, split)):
            if folder == truth:
                continue
            files = images(folder)
            label = int(folder.name != names.good)
            # Splits number their files in the same way, and the masks belong to test.
            masks = _masks(files, truth / folder.name) if label and split == "test" else {}
            defect = folder.name if label else GOOD
            found += [Sample(image, split, label, masks.get(image, ()), defect) for image in files]
    expected = f"{names.train}/{names.good}, {names.test}/{names.good} and {names.test}/<defect>"
    check_splits(found, category, f"expected {expected}; {next_step}")
    return found


def _masks(files: Sequence[Path], folder: Path) -> dict[Path, tuple[Path, ...]]:
    """The masks in ``folder`` of each image; empty if there is no such folder."""
    stems = Counter(file.stem for file in files)
    for file in files:
        if stems[file.stem] > 1 or f"{file.stem}_mask" in stems:
            raise UserError(
                f"'{file}': another file in this folder has the same name or is its mask; rename "
                f"it, or move the mask to '{folder}'"
            )
    if not folder.is_dir():
        return {}
    by_stem = defaultdict(list)
    for mask in images(folder):
        by_stem[mask.stem].append(mask)
    for several in folders(folder):
        by_stem[several.name] += images(several)
    masks = {file: (*by_stem[file.stem], *by_stem[f"{file.stem}_mask"]) for file in files}
    for file in files:
        if not masks[file]:
            raise UserError(
                f"'{file}': no mask in '{folder}'; add {file.stem}_mask.png, or remove that folder "
                "if this defect type has no masks"
            )
    return masks
