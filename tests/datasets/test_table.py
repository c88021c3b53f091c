from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.datasets import table
from adbench_harness.errors import UserError
from adbench_harness.types import Sample

IMAGES = ("a.png", "b.JPG", "c.png", "d.png", "e.png", "m1.png", "m2.png")


@pytest.fixture
def write(tree):
    """Writes the table ``parts.csv`` into a data root that holds IMAGES."""

    def make(*lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
        file = tree(*IMAGES) / "parts.csv"
        file.write_bytes("".join(line + end for line in lines).encode(encoding))
        return file

    return make


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        table.samples(file, file.parent, table.categories(file)[0])
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"'{file}' ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_column_is_read(write, encoding, end):
    file = write(
        "Path, split,label,mask,defect_type,category,group",
        "e.png,test,anomalous,m1.png; m2.png,schräg,nut,two",
        "",
        "b.JPG,train,normal,,good,nut,one",
        "a.png,Train,0,m1.png,,nut,one",
        ",,,,,,",
        "c.png,validation,,,,nut,",
        "d.png,test,1,m2.png,,nut",
        "m1.png,train,0,,,bolt,two",
        encoding=encoding,
        end=end,
    )
    root = file.parent
    assert table.categories(file) == ["bolt", "nut"]
    assert table.samples(file, root, "nut") == [
        Sample(root / "a.png", "train", 0, group="one"),
        Sample(root / "b.JPG", "train", 0, group="one"),
        Sample(root / "c.png", "validation", None),
        Sample(root / "d.png", "test", 1, (root / "m2.png",), "anomalous"),
        Sample(root / "e.png", "test", 1, (root / "m1.png", root / "m2.png"), "schräg", "two"),
    ]


def test_without_a_category_column_the_file_names_it(write):
    file = write("path,split,label", "a.png,train,0", "b.JPG,test,1")
    assert table.categories(file) == ["parts"]


def test_paths_may_be_absolute(write, tmp_path):
    file = write("path,split,label", "a.png,train,0", "b.JPG,test,1")
    elsewhere = tmp_path / "list.csv"
    elsewhere.write_text(
        f"path,split,label\n{file.parent / 'a.png'},train,0\n{file.parent / 'b.JPG'},test,\n"
    )
    samples = table.samples(elsewhere, tmp_path / "unused", "list")
    assert [sample.image for sample in samples] == [file.parent / "a.png", file.parent / "b.JPG"]


def test_the_order_of_lines_changes_nothing(write):
    lines = ["d.png,test,1", "a.png,train,0", "e.png,test,0", "c.png,train,0", "b.JPG,train,0"]
    samples = []
    for arrangement in (lines, lines[::-1], sorted(lines)):
        file = write("path,split,label", *arrangement)
        samples.append(table.samples(file, file.parent, "parts"))
    assert samples[0] == samples[1] == samples[2]
    assert [sample.image.name for sample in samples[0]] == [
        "a.png",
        "b.JPG",
        "c.png",
        "d.png",
        "e.png",
    ]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("z.png,test,1,,,", "column 'path': file '{root}/z.png' not found"),
        (",test,1,,,", "column 'path': '' is not an image file"),
        ("parts.csv,test,1,,,", "column 'path': 'parts.csv' is not an image file"),
        ("a.png,test,0,,,", "column 'path': '{root}/a.png' is already on line 2"),
        ("c.png,tset,1,,,", "column 'split': 'tset' is not train, validation or test"),
        ("c.png,,1,,,", "column 'split': '' is not train, validation or test"),
        ("c.png,test,2,,,", "column 'label': '2' is not 0, 1, normal, anomalous or empty"),
        ("c.png,test,1,z.png,,", "column 'mask': file '{root}/z.png' not found"),
        ("c.png,test,1,m1.png;z.txt,,", "column 'mask': 'z.txt' is not an image file"),
        (
            "c.png,test,1,,dent,",
            "column 'mask': '{root}/c.png' has none, but others of 'dent' have",
        ),
        ("c.png,test,0,,dent,", "column 'defect': 'dent' contradicts label '0'"),
        ("c.png,test,1,,good,", "column 'defect': 'good' contradicts label '1'"),
        ("c.png,test,,,dent,", "column 'defect': 'dent' contradicts label ''"),
        ("c.png,test,0,,,g", "column 'group': 'g' is also in train; keep a group in one split"),
        ("c.png,test,0,,,g,more", "7 cells for 6 columns; quote the cell that has a comma"),
        ('"c.png"x,test,0,,,', "',' expected after '\"'; correct it"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(write, row, complaint):
    file = write(
        "path,split,label,mask,defect,group",
        "a.png,train,0,,,g",
        "",
        "b.JPG,test,1,m1.png,dent,",
        row,
    )
    expected = complaint.format(root=file.parent)
    separator = "," if complaint.startswith("column") else ":" if complaint[0] in "7'" else ""
    assert refusal(file).startswith(f"line 5{separator} {expected}")


def test_an_empty_category_is_refused(write):
    file = write("path,split,label,category", "a.png,train,0,nut", "b.JPG,test,1,")
    assert refusal(file) == "line 3, column 'category': is empty; name the image's category"


def test_a_line_after_a_quoted_line_break_keeps_its_number(write):
    file = write("path,split,label,defect", 'a.png,train,0,"go\nod"', "b.JPG,test,1,")
    assert refusal(file).startswith("line 3, column 'defect': 'go\\nod'")


def test_an_unmasked_defect_type_has_no_pixel_truth(write):
    file = write(
        "path,split,label,mask,defect",
        "a.png,train,0,,",
        "b.JPG,test,1,m1.png,dent",
        "c.png,test,1,,stain",
    )
    assert [sample.masks for sample in table.samples(file, file.parent, "parts")] == [
        (),
        (file.parent / "m1.png",),
        (),
    ]


def test_train_and_test_need_not_both_have_masks(write):
    file = write(
        "path,split,label,mask,defect",
        "a.png,train,0,,",
        "b.JPG,train,1,,dent",
        "c.png,test,1,m1.png,dent",
        "d.png,train,1,m2.png,stain",
        "e.png,test,1,,stain",
    )
    assert [len(sample.masks) for sample in table.samples(file, file.parent, "parts")] == [
        *(0, 0, 1),  # train
        *(1, 0),  # test
    ]


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("path,split", "line 1: no column 'label'; add it"),
        ("path|split|label", "line 1: no column 'path'; add it"),
        (
            "path,split,label,masks",
            "line 1: unknown column 'masks' (did you mean 'mask'?); the col",
        ),
        ("path,split,label,defect,defect_type", "line 1: column 'defect' appears twice; keep one"),
    ],
)
def test_a_bad_header_is_refused(write, header, complaint):
    assert refusal(write(header, "a.png,train,0")).startswith(complaint)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "is empty; begin it with the columns path, split, label"),
        (["path,split,label"], "lists no images; add a line for each"),
        (["path,split,label", "a.png,test,0"], "no normal images in train; add lines for 'parts'"),
        (["path,split,label", "a.png,train,1", "b.JPG,test,0"], "no normal images in train"),
        (["path,split,label", "a.png,train,0"], "no images in test; add lines for 'parts'"),
    ],
)
def test_too_few_rows_are_refused(write, lines, complaint):
    assert complaint in refusal(write(*lines))


def test_an_unreadable_table_is_refused(write):
    file = write("path,split,label", "schräg.png,train,0", encoding="latin-1")
    assert "can't decode byte 0xe4" in refusal(file)
    with pytest.raises(UserError, match=r"table '.*none.csv' cannot be read: .*No such file"):
        table.categories(file.with_name("none.csv"))
