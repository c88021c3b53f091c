from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adbench_harness import reported
from adbench_harness.types import Reported

HEADER = "recipe,method,dataset,category,metric,value,source,marks,categories\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package that holds a reported.csv."""
    folder = tmp_path / "adbench_printed"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder


def test_each_row_is_a_number_with_its_place(package: Path) -> None:
    (package / "reported.csv").write_text(
        HEADER
        + "fast,Ours é,mvtec_ad,mean,image_auroc,0.981,Table 2,misprint test-selected,15\n"
        + ',"a, b",mini,brick,params,2500,Section 4,,\n',
        encoding="utf-8",
    )
    assert list(reported.read(package.name)) == [
        Reported(
            method="Ours é",
            dataset="mvtec_ad",
            category="mean",
            metric="image_auroc",
            value=0.981,
            source="Table 2",
            recipe="fast",
            marks=("misprint", "test-selected"),
            categories=15,
        ),
        Reported("a, b", "mini", "brick", "params", 2500.0, "Section 4"),
    ]


@pytest.mark.parametrize("row", ["fast,m,d,c,image_auroc,98.1%,T,,", "fast,m,d,c,aupro,0.5,T,,x"])
def test_a_cell_that_is_not_a_number_is_refused(package: Path, row: str) -> None:
    (package / "reported.csv").write_text(HEADER + row + "\n")
    with pytest.raises(ValueError, match=r"98\.1%|'x'"):
        list(reported.read(package.name))
