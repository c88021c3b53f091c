from __future__ import annotations

import csv as reader
import io

import pandas as pd
import pytest

from adbench_harness.leaderboard.spreadsheet import csv


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_a_text_that_a_spreadsheet_would_run_is_text(text: str) -> None:
    frame = pd.DataFrame({text: [text, "b"], "n": [1, 2]}, index=pd.Index([text, "c"], name="i"))
    head, first, _ = reader.reader(io.StringIO(csv(frame), newline=""))
    assert head == ["i", f"'{text}", "n"]
    assert first == [f"'{text}", f"'{text}", "1"]


def test_a_text_is_utf_8_and_in_one_row() -> None:
    frame = pd.DataFrame({"a": ["\r=x", "\udcff", "b\nc"]})
    text = csv(frame, index=False)
    assert text.encode() == b'a\n =x\n\\xff\n"b\nc"\n'


def test_everything_else_is_as_pandas_writes_it() -> None:
    index = pd.MultiIndex.from_tuples([("a", "x=1"), ("b", "c-d")], names=["p", "q"])
    frame = pd.DataFrame(
        {
            "float": [-0.1, float("nan")],
            "int": [-1, 2],
            "some": pd.array([-1, pd.NA], dtype="Int64"),
            "text": ["ü,", None],
            "flag": [True, False],
        },
        index=index,
    )
    assert csv(frame) == frame.to_csv()
    assert csv(frame, index=False) == frame.to_csv(index=False)
    unstacked = frame["int"].unstack("q")
    assert csv(unstacked) == unstacked.to_csv()
