from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adbench_harness.results import tiff


def test_other_programs_read_it(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
    tiff.write(tmp_path / "a.tiff", values)
    with Image.open(tmp_path / "a.tiff") as image:
        assert image.mode == "F"
        assert np.array_equal(np.array(image), values)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_both_widths_round_trip(tmp_path: Path, kind: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = (np.arange(12).reshape(4, 3) / 7).astype(kind)
    tiff.write(tmp_path / "a.tiff", values)
    read = tifffile.imread(tmp_path / "a.tiff")
    assert read.dtype == kind
    assert np.array_equal(read, values)
