"""Samples listed in a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from adbench_harness.datasets import layout
from adbench_harness.errors import UserError, nearest
from adbench_harness.types import GOOD, SPLITS, Sample

ANOMALOUS = "anomalous"
LABELS = {
    **dict.fromkeys(("0", "0.0", "normal", "good", "ok", "false"), 0),
    **dict.fromkeys(("1", "1.0", ANOMALOUS, "anomaly", "abnormal", "true"), 1),
    **dict.fromkeys(("bad", "ng", "defect", "defective"), 1),
    "": None,
}
REQUIRED = ("path", "split", "label")
COLUMNS = (*REQUIRED, "mask", "defect", "category", "group")
ALIASES = {
    **dict.fromkeys(("image_path", "image", "img_path", "filename", "file", "file_path"), "path"),
    **dict.fromkeys(("anomaly", "is_anomaly", ANOMALOUS, "target"), "label"),
    **dict.fromkeys(("mask_path", "ground_truth"), "mask"),
    **dict.fromkeys(("defect_type", "anomaly_type"), "defect"),
    **dict.fromkeys(("object", "product", "category_name"), "category"),
}
SEPARATORS = ",;\t"


class Row(NamedTuple):
    """A line of the table: its cells by column, empty if a cell is missing."""

    file: Path
    line: int
    cells: dict[str, str]

    def error(self, column: str, reason: str) -> UserError:
        """An error that names the cell and the reason."""
        return UserError(f"'{self.file}' line {self.line}, column '{column}': {reason}")


def categories(file: Path) -> list[str]:
    """The categories that the table names, sorted; raises UserError if it has no rows."""
    rows = _rows(file)
    _check_capitals(rows, "category")
    return sorted({row.cells["category"] for row in rows})


def samples(file: Path, root: Path, category: str, *, split: bool = True) -> list[Sample]:
    """The category's samples, by split, defect type and path.

    Columns: ``path``; ``split`` (train, validation or test); ``label`` (0 or normal, 1 or
    anomalous, empty for unknown); and optionally ``mask`` (several separated by ``;``; a normal
    image's masks are not read), ``defect``, ``category`` (default: one category, named after the
    file) and ``group``, or another usual name of these (``ALIASES``). Cells are separated by
    commas, semicolons or tabs. Paths are absolute or relative to ``root``. If no test image of a
    defect type has a mask, it has no pixel truth. Without ``split`` the table has no such column,
    and all samples are in test. Raises UserError with line and column.
    """
    found: list[tuple[Row, Sample]] = []
    lines: dict[str, int] = {}
    groups: dict[str, Sample] = {}
    rows = _rows(file, split=split)
    names = sorted({row.cells["category"] for row in rows})
    layout.check_category(category, names, "table", file)
    _check_capitals([row for row in rows if row.cells["category"] == category], "defect")
    for row in rows:
        if row.cells["category"] != category:
            continue
        sample = _sample(row, root)
        place = os.path.normpath(sample.image)  # without a/.., which paths keep
        if (line := lines.setdefault(place, row.line)) != row.line:
            raise row.error("path", f"{str(sample.image)!r} is already on line {line}; keep one")
        if sample.group:
            other = groups.setdefault(sample.group, sample)
            if other.split != sample.split:
                raise row.error(
                    "group", f"{sample.group!r} is also in {other.split}; keep a group in one split"
                )
        found.append((row, sample))
    masked = {sample.defect for _, sample in found if sample.split == "test" and sample.masks}
    for row, sample in found:
        if sample.split == "test" and sample.defect in masked and sample.label and not sample.masks:
            raise row.error(
                "mask",
                f"{str(sample.image)!r} has none, but others of {sample.defect!r} have; add it",
            )
    if split:
        layout.check_splits((sample for _, sample in found), file, f"add lines for '{category}'")
    return sorted(
        (sample for _, sample in found),
        key=lambda s: (SPLITS.index(s.split), s.defect, s.image.as_posix()),
    )


def masks_of_normals(file: Path, root: Path, category: str) -> dict[Path, tuple[Path, ...]]:
    """The masks that the table names for normal images of the category, as far as they exist."""
    found = {}
    for row in _rows(file):
        if row.cells["category"] == category and LABELS[row.cells["label"].lower()] == 0:
            paths = (_place(root, text) for text in _several(row.cells["mask"]))
            if masks := tuple(path for path in paths if os.path.isfile(path)):
                found[_place(root, row.cells["path"])] = masks
    return found


def files(file: Path, root: Path) -> list[Path]:
    """The images and masks that the table names in any category, as far as they exist."""
    texts = (
        text
        for row in _rows(file)
        for text in (row.cells["path"], *_several(row.cells["mask"]))
        if text
    )
    return [path for text in texts if os.path.isfile(path := _place(root, text))]


def notes(file: Path) -> list[str]:
    """A sentence about the columns that are not used; empty without any."""
    _, columns, _ = _table(file)
    unused = [name or "without a name" for name in columns if name not in COLUMNS]
    return [f"columns of '{file.name}' that are not used: {', '.join(unused)}"] if unused else []


def _check_capitals(rows: Iterable[Row], column: str) -> None:
    """Raise UserError for two values of a column that differ only in capitals."""
    known: dict[str, Row] = {}
    for row in rows:
        other = known.setdefault(row.cells[column].lower(), row)
        if other.cells[column] != row.cells[column]:
            raise row.error(
                column,
                f"{row.cells[column]!r} is {other.cells[column]!r} on line {other.line}; write "
                "them alike",
            )


def _sample(row: Row, root: Path) -> Sample:
    cells = row.cells
    split, label = layout.named_split(cells["split"].lower()), cells["label"].lower()
    if split is None:
        raise row.error("split", f"{cells['split'].lower()!r} is not train, validation or test")
    if label not in LABELS:
        raise row.error("label", f"{label!r} is not 0, 1, normal, anomalous or empty")
    anomalous = LABELS[label] == 1
    defect = cells["defect"] or (ANOMALOUS if anomalous else GOOD)
    if (defect != GOOD) != anomalous:
        raise row.error("defect", f"{defect!r} contradicts label {label!r}")
    masks = _several(cells["mask"]) if LABELS[label] != 0 else []
    return Sample(
        image=_image(row, "path", cells["path"], root),
        split=split,
        label=LABELS[label],
        masks=tuple(_image(row, "mask", text, root) for text in masks),
        defect=defect,
        group=cells["group"] or None,
    )


def _several(cell: str) -> list[str]:
    return [text.strip() for text in cell.split(";") if text.strip()]


def _place(root: Path, text: str) -> Path:
    path = root / text
    return root / text.replace("\\", "/") if "\\" in text and not os.path.exists(path) else path


def _image(row: Row, column: str, text: str, root: Path) -> Path:
    path = _place(root, text)
    if path.suffix.lower() not in layout.SUFFIXES:
        known = ", ".join(sorted(layout.SUFFIXES))
        raise row.error(column, f"{text!r} is not an image file ({known})")
    if not os.path.isfile(path):  # unlike Path's method, it takes a name of any length
        raise row.error(column, f"file {str(path)!r} not found; correct it")
    return path


def _rows(file: Path, *, split: bool | None = None) -> list[Row]:
    """The lines as rows; ``split`` says whether they must name one (None: they may)."""
    header, columns, lines = _table(file)
    for column in columns:
        if column in COLUMNS and columns.count(column) > 1:
            raise UserError(f"'{file}' line {header}: column '{column}' appears twice; keep one")
    for column in REQUIRED:
        if column not in columns and (column != "split" or split):
            hint = ", or draw one with split=0.8" if column == "split" else ""
            raise UserError(f"'{file}' line {header}: no column '{column}'; add it{hint}")
    if split is False and "split" in columns:
        raise UserError(f"'{file}' has a column 'split' already; leave split=SHARE out")
    if not lines:
        raise UserError(f"'{file}' lists no images; add a line for each")
    rows = []
    for line, texts in lines:
        if len(texts) > len(columns):
            raise UserError(
                f"'{file}' line {line}: {len(texts)} cells for {len(columns)} columns; quote the "
                "cell that has a comma"
            )
        cells = dict.fromkeys(COLUMNS, "") | dict(zip(columns, texts, strict=False))
        row = Row(file, line, cells)
        if "split" not in columns:
            cells["split"] = "test"
        if "category" not in columns:
            cells["category"] = file.stem
        elif not cells["category"]:
            raise row.error("category", "is empty; name the image's category")
        rows.append(row)
    return rows


def _table(file: Path) -> tuple[int, list[str], list[tuple[int, list[str]]]]:
    """The header's line number, its columns by the names used here, and the other lines.

    Raises UserError for a column whose name is nearly one of those that are read.
    """
    lines = _read(file)
    if not lines:
        raise UserError(f"'{file}' is empty; begin it with the columns {', '.join(COLUMNS)}")
    (line, header), *others = lines
    columns = [_column(name) for name in header]
    for column in columns:
        if column not in COLUMNS and (hint := nearest(column, COLUMNS)):
            raise UserError(
                f"'{file}' line {line}: unknown column {column!r}{hint}; the columns are "
                f"{', '.join(COLUMNS)}"
            )
    return line, columns, others


def _column(name: str) -> str:
    return ALIASES.get(name.strip().lower(), name.strip().lower())


def _read(file: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers; cells are stripped."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=_separator(text.readline()), strict=True)
            text.seek(0)
            try:
                return [
                    (reader.line_num, [cell.strip() for cell in cells])
                    for cells in reader
                    if any(map(str.strip, cells))
                ]
            except csv.Error as error:
                raise UserError(f"'{file}' line {reader.line_num}: {error}; correct it") from None
    except OSError as error:
        raise UserError(
            f"table '{file}' cannot be read: {error.strerror}; correct the path, which is relative "
            "to the data's folder"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"table '{file}' cannot be read: {error}; save it as UTF-8") from None


def _separator(header: str) -> str:
    """The one that makes the most columns known."""

    def known(separator: str) -> int:
        return sum(_column(name.strip('"')) in COLUMNS for name in header.split(separator))

    return max(SEPARATORS, key=known)
