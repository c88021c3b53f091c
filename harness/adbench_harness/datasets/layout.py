"""Image folders in the layout of MVTec AD, which most public data sets follow."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from adbench_harness.errors import UserError, nearest, printable
from adbench_harness.types import GOOD, SPLITS, Sample, Split
from adbench_harness.wording import counted

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".pgm", ".ppm", ".pbm", ".pnm"}
)
_NO_IMAGES = frozenset(
    {".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".toml", ".html", ".pdf"}
    | {".py", ".db", ".ini", ".log"}
)
"""Files that nobody takes for images, so that it need not be said that they are left out."""
_LEFTOVERS = (
    *("._", "__MACOSX", ".AppleDouble", ".Trash", ".thumbnails", ".ipynb_checkpoints"),
    *("@eaDir", "#recycle", "$RECYCLE.BIN"),
)
"""How names begin of what systems and notebooks put beside files: previews, copies, deleted files.

Nobody takes them for images either.
"""
_DEFECTS = frozenset(
    {"bad", "ng", "defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "abnormal"}
)
_NORMAL = (
    r"good|ok|normal|nominal|clean|healthy|intact|flawless|undamaged|pass(ed)?|negatives?"
    r"|(no|non|not)[\W_]*(defects?|defective|anomal(y|ies|ous))|(defect|anomaly)[\W_]*free"
)
"""Names that people give to normal images; a data set reads only its own ones."""
_UNLABELLED = frozenset({"unlabelled", "unlabeled"})
_MASK_ENDINGS = ("_mask", "_gt", "_label", "_seg")
"""How the names of masks end that lie beside their images."""
_AFFIX = "mask|gt|label|seg"
"""What the names of all masks of a defect type may have before or after their images' names."""
Alternatives = str | tuple[str, ...]


class Names(NamedTuple):
    """The names that a data set gives to the folders of a category, in any capitals.

    Several are alternatives; the first one is what messages expect.
    """

    train: Alternatives = "train"
    validation: Alternatives = "validation"
    test: Alternatives = "test"
    truth: Alternatives = "ground_truth"
    good: Alternatives = GOOD

    def is_good(self, folder: str) -> bool:
        """Whether a folder of this name holds normal images."""
        return folder.lower() in map(str.lower, _several(self.good))

    def is_nearly_good(self, folder: str) -> bool:
        """Whether a name that is not read as one of normal images still says that they are.

        It is a usual one, or has a number, "copy" or a space more.
        """
        good = "|".join((_NORMAL, *map(str.lower, _several(self.good))))
        nearly = re.fullmatch(rf"[\W_]*({good})[\W_]*(copy|new|old)?[\W_\d]*", folder.lower())
        return nearly is not None and not self.is_good(folder)

    def is_truth(self, folder: str) -> bool:
        """Whether a folder of this name holds masks."""
        return folder.lower() in map(str.lower, _several(self.truth))


MVTEC = Names()


def _several(names: Alternatives) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _first(names: Alternatives) -> str:
    return _several(names)[0]


def folders(parent: Path) -> list[Path]:
    """The folders in ``parent`` by name, without hidden ones; empty if it is not a folder."""
    return [path for path in _entries(parent) if path.is_dir()]


def images(folder: Path) -> list[Path]:
    """The image files in ``folder`` by name, without hidden ones; empty if it is not a folder.

    Raises UserError for a link that leads nowhere.
    """
    return [path for path in _entries(folder) if _is_image(path)]


def nested(folder: Path) -> list[Path]:
    """The image files in ``folder`` and in all folders below it, by their relative paths."""
    return [path for path in _files(folder, set()) if _is_image(path)]


def not_images(folder: Path) -> list[str]:
    """A sentence about the files below ``folder`` that ``nested`` leaves out."""
    read = set(nested(folder))
    files = _files(folder, set(), hidden=True)
    return _not_used(folder, (p for p in files if p not in read and _may_be_image(p, folder)), ())


def _is_image(path: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        return False
    if not path.exists():
        raise UserError(f"'{path}' is a link to a file that does not exist; restore or remove it")
    return path.is_file()


def _entries(parent: Path, *, hidden: bool = False) -> list[Path]:
    """What is in a folder by name, but for leftovers; with hidden files if they are wanted.

    Those are for notes only, so that a folder that cannot be read is then passed over.
    """
    if not parent.is_dir() or (hidden and not os.access(parent, os.R_OK | os.X_OK)):
        return []
    unwanted = _LEFTOVERS if hidden else (*_LEFTOVERS, ".")
    paths = (path for path in parent.iterdir() if not path.name.startswith(unwanted))
    return sorted(paths, key=lambda path: path.name)


def _files(folder: Path, above: set[Path], *, hidden: bool = False) -> Iterator[Path]:
    """Everything below ``folder`` that is not a folder; links to folders above are skipped.

    They add nothing but the same images, under other names and labels.
    """
    if (place := folder.resolve()) in above:
        return
    for path in _entries(folder, hidden=hidden):
        # Unlike Path.resolve, this also takes a link to itself.
        if path.is_symlink() and place.is_relative_to(os.path.realpath(path)):
            continue
        if path.is_dir():
            yield from _files(path, above | {place}, hidden=hidden)
        else:
            yield path


def named(parent: Path, names: Alternatives) -> Path | None:
    """The folder in ``parent`` (or deeper: ``a/b``) of one of these names, in any capitals.

    Raises UserError if there are several.
    """
    for name in _several(names):
        if (parent / name).is_dir():
            exact: Path | None = parent / name
            break
    else:
        exact = None
    wanted = {name.lower() for name in _several(names) if "/" not in name}
    found = [path for path in folders(parent) if path.name.lower() in wanted]
    if len(found) > 1:
        raise UserError(
            f"'{parent}' has the folders {' and '.join(path.name for path in found)}, which mean "
            "the same; join them"
        )
    return exact or next(iter(found), None)


def check_capitals(parent: Path, names: Iterable[Path]) -> None:
    """Raise UserError for folders whose names differ only in capitals."""
    known: dict[str, Path] = {}
    for path in names:
        other = known.setdefault(path.name.lower(), path)
        if other != path:
            raise UserError(
                f"'{parent}' has the folders {other.name} and {path.name}, which mean the same; "
                "join them"
            )


def left_out(category: Path, samples: Iterable[Sample], known: Iterable[Path] = ()) -> list[str]:
    """A sentence about the files in a category's folder that no sample uses, and why; or nothing.

    Texts, tables, the ``known`` files, and hidden files that are not images are not counted.
    """
    used = {path for s in samples for path in (s.image, *s.masks, *s.extras.values())}
    used.update(known)
    return _not_used(
        category,
        (
            path
            for path in _files(category, set(), hidden=True)
            if path not in used and _may_be_image(path, category)
        ),
        {path.parent for path in used},
    )


def beside(root: Path, categories: Collection[Path]) -> list[str]:
    """A sentence about the images in ``root`` that are in none of the ``categories``' folders.

    Links that lead nowhere may have been to categories, and are counted too.
    """
    others = [path for path in _entries(root, hidden=True) if path not in categories]
    files = [
        path
        for other in others
        for path in (_files(other, set(), hidden=True) if other.is_dir() else (other,))
    ]
    return _not_used(
        root,
        (path for path in files if path.suffix.lower() in SUFFIXES or not path.exists()),
        categories,
    )


def empty(category: Path, names: Names = MVTEC) -> list[str]:
    """A sentence about the folders of defect types or normal images that hold no image."""
    truth = named(category, names.truth)
    parts = [named(category, getattr(names, split)) for split in SPLITS]
    found = [
        folder
        for part in [part for part in parts if part] or [category]
        for folder in folders(part)
        if folder != truth
        and not any(_may_be_image(path, category) for path in _files(folder, set(), hidden=True))
    ]
    if not found:
        return []
    shown = ", ".join(_inside(category, folder) for folder in found[:4])
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    are = "is" if len(found) == 1 else "are"
    return [f"{counted(len(found), 'folder')} without images {are} not used: {shown}{more}"]


def unlisted(root: Path, listed: Iterable[Path]) -> list[str]:
    """A sentence about the images below ``root`` that are not among the ``listed`` files."""
    known = {os.path.realpath(path) for path in listed}
    found = [
        path
        for path in _files(root, set(), hidden=True)
        if path.suffix.lower() in SUFFIXES and os.path.realpath(path) not in known
    ]
    if not found:
        return []
    first = printable(found[0].relative_to(root).as_posix())
    are, more = ("is", "") if len(found) == 1 else ("are", ", ...")
    images = f"{counted(len(found), 'image')} that the table does not list"
    return [f"{images} {are} not used: {first}{more}"]


def _may_be_image(path: Path, category: Path) -> bool:
    """Whether somebody may take a file for an image; of hidden ones only those that are."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES if _is_hidden(path, category) else suffix not in _NO_IMAGES


def _is_hidden(path: Path, parent: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(parent).parts)


def _not_used(parent: Path, files: Iterable[Path], homes: Collection[Path]) -> list[str]:
    """The sentence; ``homes`` are the folders of what is used."""
    found = defaultdict(list)
    for path in files:
        found[path.parent, _why_unused(path, parent, homes)].append(path.name)
    if not found:
        return []
    parts = [
        f"{len(names)} in {_inside(parent, folder)} "
        f"({printable(names[0])}{', ...' * (len(names) > 1)}: {why})"
        for (folder, why), names in sorted(found.items())
    ]
    count = sum(map(len, found.values()))
    more = f" and {len(parts) - 4} more" if len(parts) > 4 else ""
    return [f"{count} file{'s are' if count > 1 else ' is'} not used: {', '.join(parts[:4])}{more}"]


def _why_unused(path: Path, parent: Path, homes: Collection[Path]) -> str:
    suffix = path.suffix.lower()
    if _is_hidden(path, parent):
        return "hidden"
    if not path.exists():
        return "a link to what does not exist"
    if suffix not in SUFFIXES:
        return f"files with the suffix {printable(suffix)} are not read" if suffix else "no suffix"
    if not path.is_file():
        return "not a regular file"
    if path.parent in homes:
        return "no image has this name"
    if any(home.is_relative_to(path.parent) for home in homes):
        return "only folders within this one are read"
    return "this folder is not read"


def _check_read(parent: Path, found: Iterable[Sample], what: str) -> None:
    """Raise UserError if ``parent`` has files, but none with an image's suffix.

    It names the suffix and the folder that have the most of them.
    """
    if any(found):
        return
    count = Counter(
        (path.parent, path.suffix.lower())
        for path in _files(parent, set())
        if path.suffix.lower() not in SUFFIXES | _NO_IMAGES
    )
    for (folder, suffix), files in count.most_common(1):
        raise UserError(
            f"'{folder}': {what}; {counted(files, 'file')} "
            f"{f'with the suffix {printable(suffix)}' if suffix else 'without a suffix'} "
            f"{'is' if files == 1 else 'are'} not read; convert {'it' if files == 1 else 'them'} "
            "to PNG"
        )


def _inside(category: Path, folder: Path) -> str:
    inside = category.name if folder == category else folder.relative_to(category).as_posix()
    return printable(inside)


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
    usual = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}
    return next((split for split in SPLITS if split == usual.get(text, text)), None)


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
    ``test/<defect>``, or in folders within these; the masks of ``test/<defect>`` are in
    ``ground_truth/<defect>``, as ``<image>`` or ``<image>_mask`` with any image suffix, or several
    in a folder ``<image>``, or all with another affix, such as ``<image>_gt``. A defect type
    without a ``ground_truth`` folder has no pixel truth.
    Raises UserError if a mask is missing or is among the images, and, ending in ``next_step``, if
    train or test has no images.
    """
    found = []
    truth = named(category, names.truth)
    for split in SPLITS:
        folder = named(category, getattr(names, split))
        if folder is not None:
            # Splits number their files in the same way, and the masks belong to test.
            its = _of_split(folder, split, names, truth, masked=split == "test")
            _check_read(folder, its, f"no images in {split}")
            found += its
    train, test, good = (_first(name) for name in (names.train, names.test, names.good))
    expected = f"{train}/{good}, {test}/{good} and {test}/<defect>"
    check_splits(found, category, f"expected {expected}; {next_step}")
    return found


def masks_of_normals(category: Path, names: Names = MVTEC) -> dict[Path, tuple[Path, ...]]:
    """By normal test image, the masks in ``ground_truth/good``, which no sample has."""
    truth, test = named(category, names.truth), named(category, names.test)
    found: dict[Path, tuple[Path, ...]] = {}
    for folder in folders(test or category) if truth else ():
        own = truth and names.is_good(folder.name) and named(truth, folder.name)
        if own:
            keys = {file: _key(folder, file) for file in nested(folder)}
            found |= _matched(keys, own)
    return {image: masks for image, masks in found.items() if masks}


def unsplit(category: Path, names: Names = MVTEC) -> list[Sample]:
    """The samples of a category without train and test, all in test: ``good`` beside ``<defect>``.

    Masks are where ``samples`` expects them.
    """
    if (folder := named(category, names.validation)) is not None:
        raise UserError(
            f"'{folder}' has the name of a split, but '{category}' has no train and test; add "
            "them, or rename it"
        )
    truth = named(category, names.truth)
    found = _of_split(category, "test", names, truth, masked=True)
    _check_read(category, found, "no images")
    return found


def is_unsplit(category: Path, names: Names = MVTEC) -> bool:
    """Whether ``unsplit`` would find normal images in ``category``."""
    return not is_split(category, names) and any(
        names.is_good(folder.name) for folder in folders(category)
    )


def is_split(category: Path, names: Names = MVTEC) -> bool:
    """Whether ``category`` has a folder for train or for test.

    One of them is enough, so that a category without the other is reported, not skipped.
    """
    return any(named(category, name) is not None for name in (names.train, names.test))


def _of_split(
    parent: Path, split: Split, names: Names, truth: Path | None, *, masked: bool
) -> list[Sample]:
    found = []
    types = [folder for folder in folders(parent) if folder != truth]
    check_capitals(parent, types)
    defects = {folder.name.lower() for folder in (*types, *(folders(truth) if truth else ()))}
    for folder in types:
        files = nested(folder)
        label = int(not names.is_good(folder.name))
        masks = {}
        _check_type(folder, parent, names)
        _check_inner(folder, files, names, defects | _DEFECTS)
        _check_names(folder, files, truth)
        if label and masked:
            masks = _masks(folder, files, truth and named(truth, folder.name))
        defect = printable(folder.name) if label else GOOD
        found += [Sample(image, split, label, masks.get(image, ()), defect) for image in files]
    return found


def _check_type(folder: Path, parent: Path, names: Names) -> None:
    """Raise UserError for a folder whose name can hardly be that of a defect type."""
    if names.is_nearly_good(folder.name):
        raise UserError(
            f"'{folder}' has a name of normal images, but would be a defect type; join it "
            f"with '{parent / _first(names.good)}', or rename it"
        )
    if folder.name.lower() in _UNLABELLED:
        raise UserError(
            f"'{folder}' has the name of images without labels, but would be a defect type; list "
            "them in a table with an empty label, or rename it"
        )


def _check_inner(
    folder: Path, files: Sequence[Path], names: Names, defects: Collection[str]
) -> None:
    """Raise UserError for a folder in ``folder`` whose name says that its images are others."""
    normal = names.is_good(folder.name)
    for inner in sorted({at for file in files for at in file.relative_to(folder).parents}):
        place = folder / inner
        if names.is_truth(place.name):
            raise UserError(
                f"'{place}' has the name of a folder of masks, but is among the images; move it "
                f"to '{_first(names.truth)}/<defect>' of the category"
            )
        if not normal and names.is_good(inner.name):
            raise UserError(
                f"'{place}' has the name of normal images, but is in a folder of defects; move it "
                f"to '{folder.parent / _first(names.good)}', or rename it"
            )
        if normal and not names.is_good(inner.name) and inner.name.lower() in defects:
            raise UserError(
                f"'{place}' has the name of defects, but is in a folder of normal images; move it "
                f"to '{folder.parent / inner.name}', or rename it"
            )


def _check_names(folder: Path, files: Sequence[Path], truth: Path | None) -> None:
    """Raise UserError for a mask beside its image."""
    keys = {_key(folder, file).lower(): file for file in files}
    for key, file in keys.items():
        for ending in _MASK_ENDINGS:
            if key.endswith(ending) and key.removesuffix(ending) in keys:
                raise UserError(
                    f"'{file}' has the name of a mask, but is among the images; move it to "
                    f"'{(truth or Path('ground_truth')) / folder.name}', or rename it"
                )


def _masks(folder: Path, files: Sequence[Path], truth: Path | None) -> dict[Path, tuple[Path, ...]]:
    """The masks in ``truth`` of each image in ``folder``; empty if there is no such folder."""
    keys = {file: _key(folder, file) for file in files}
    count = Counter(keys.values())
    for file, key in keys.items():
        if count[key] > 1:
            raise UserError(f"'{file}': another file in this folder has the same name; rename it")
    if truth is None:
        return {}
    masks = _matched(keys, truth)
    if not all(masks.values()) and (others := _matched_by_affix(keys, truth)):
        return others
    for file, key in keys.items():
        if not masks[file]:
            for other in _files(truth, set()):
                if _key(truth, other) in (key, f"{key}_mask"):
                    raise UserError(f"mask '{other}' is not read; convert it to PNG")
            raise UserError(
                f"'{file}': no mask in '{truth}'; add {key}_mask.png, or remove that folder if "
                "this defect type has no masks"
            )
    return masks


def _matched(keys: Mapping[Path, str], truth: Path) -> dict[Path, tuple[Path, ...]]:
    """The masks in ``truth`` of each image, by the images' ``keys``."""
    alone, together = defaultdict(list), defaultdict(list)
    for mask in nested(truth):
        alone[_key(truth, mask)].append(mask)
        together[mask.parent.relative_to(truth).as_posix()].append(mask)
    return {
        file: tuple(
            mask
            for name in (key, f"{key}_mask")
            for place in (alone, together)
            for mask in place.get(name, ())
        )
        for file, key in keys.items()
    }


def _matched_by_affix(keys: Mapping[Path, str], truth: Path) -> dict[Path, tuple[Path, ...]]:
    """The mask of each image if all names differ by the same affix; empty otherwise."""
    masks = nested(truth)
    its = {_key(truth, mask): mask for mask in masks}
    if not masks or len(its) < len(masks):
        return {}
    before = re.match(rf"({_AFFIX})[_-]", masks[0].stem, re.IGNORECASE)
    after = re.search(rf"[_-]({_AFFIX})$", masks[0].stem, re.IGNORECASE)
    for start, end in ((before and before[0], ""), ("", after and after[0])):
        wanted = {
            file: f"{place}{slash}{start or ''}{name}{end or ''}"
            for file, (place, slash, name) in ((f, key.rpartition("/")) for f, key in keys.items())
        }
        if set(wanted.values()) == set(its):
            return {file: (its[name],) for file, name in wanted.items()}
    return {}


def _key(folder: Path, file: Path) -> str:
    """A file's path in ``folder`` without its suffix."""
    return (file.parent / file.stem).relative_to(folder).as_posix()
