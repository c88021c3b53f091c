from __future__ import annotations

import math
from pathlib import Path

import pytest

from adbench_harness import report
from adbench_harness.errors import UserError
from adbench_harness.report.folder import Folder, named
from adbench_harness.results.store import Store


def test_a_site_is_replaced_and_nothing_else_is(results, catalogue, locations, tmp_path):
    root = tmp_path / "site"
    (root / "plots").mkdir(parents=True)
    (root / "plots/mine.svg").write_text("mine")

    def write():
        report.write(Store(results), root, catalogue=catalogue, locations=locations, images=0)

    with pytest.raises(UserError, match="is not empty and not an adbench site"):
        write()
    assert (root / "plots/mine.svg").read_text() == "mine"
    (root / "plots/mine.svg").unlink()
    (root / "plots").rmdir()
    write()
    before = {path.relative_to(root): path.read_bytes() for path in root.rglob("*.html")}
    (root / "rows/old.html").write_text("old")
    (root / "notes.txt").write_text("mine")
    write()
    assert {p.relative_to(root): p.read_bytes() for p in root.rglob("*.html")} == before
    assert (root / "notes.txt").read_text() == "mine"


def test_the_site_of_an_older_page_is_known(tmp_path, results, catalogue, locations):
    """Somebody's own index.html is not taken for a site."""
    Path(tmp_path / "index.html").write_text("<!doctype html><title>mine</title>")
    with pytest.raises(UserError, match="is not empty and not an adbench site"):
        report.write(Store(results), tmp_path, catalogue=catalogue, locations=locations)


def test_data_can_end_neither_their_script_nor_its_line(tmp_path):
    folder = Folder(tmp_path / "s")
    folder.data("data/x.js", {"</script>\u2028": [1, None]})
    text = (tmp_path / "s/data/x.js").read_text(encoding="ascii")
    assert text == 'adbench.receive({"</script>\\u2028":[1,null]});\n'
    with pytest.raises(ValueError, match="JSON"):
        folder.data("data/x.js", math.nan)


def test_names_that_look_alike_in_a_file_name_stay_apart():
    assert named("A(b)").startswith("a-b-")
    assert len({named("a b"), named("a_b"), named("a b", "c"), named("ü"), named("ö")}) == 5


def test_an_unfinished_site_is_known_and_written_again(tmp_path):
    """A disk that was full is no reason to name another folder."""
    Folder(tmp_path / "s")
    (tmp_path / "s" / "rows").mkdir()
    Folder(tmp_path / "s")
    assert not (tmp_path / "s" / "rows").exists()
