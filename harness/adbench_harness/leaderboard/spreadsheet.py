"""Tables as CSV, which a spreadsheet shows and does not run."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from adbench_harness.errors import printable


def csv(frame: pd.DataFrame, *, index: bool = True) -> str:
    """The frame as CSV; a text that a spreadsheet would take for a formula begins with ``'``."""
    table = (frame.reset_index() if index else frame).rename(columns=_shown)
    for position, dtype in enumerate(table.dtypes):
        if not is_numeric_dtype(dtype):
            table.isetitem(position, table.iloc[:, position].map(_shown).array)
    return table.to_csv(index=False)


def _shown(value: Any) -> Any:
    """A cell; numbers stay as they are, also those below zero."""
    if not isinstance(value, str):
        return value
    text = printable(value).replace("\r", " ")  # which would end the row
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
