from __future__ import annotations

import itertools
import re
from urllib.parse import unquote, urlsplit

import pytest

from adbench_harness import report
from adbench_harness.errors import UserError
from adbench_harness.results.store import Store

SCRIPT = "<script>alert(1)</script>"
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+\.\w+", re.ASCII)


def test_every_link_and_file_is_there_and_every_anchor_is_one(site, whole, compared):
    used = set()
    for content in compared(site):
        used.add((site / content["file"]).resolve())
        rows = [image for row in content["rows"].values() for image in row["images"]]
        pictures = [image["image"] for image in content["images"]] + [row["heat"] for row in rows]
        used |= {(site / picture).resolve() for picture in pictures if picture}
        assert all((site / page).is_file() for page in content["rows"])
    for page in whole(site):
        ids = [a["id"] for _, a in page.tags if "id" in a]
        assert len(ids) == len(set(ids))
        for _, attributes in page.tags:
            for name in ("href", "src"):
                address = urlsplit(attributes.get(name) or "")
                if address.scheme == "data":
                    continue
                assert not address.scheme
                assert not address.netloc
                target = page.path.parent / unquote(address.path) if address.path else page.path
                assert target.is_file(), target
                assert target.resolve().is_relative_to(site.resolve())
                used.add(target.resolve())
                if address.fragment and target.name != "compare.html":
                    assert address.fragment in ids
    made = {path.resolve() for path in site.rglob("*") if path.is_file()}
    licenses = {f"{name}.LICENSE.txt" for name in ("d3", "datatables", "observable-plot")}
    assert used <= made
    assert {path.name for path in made - used} == licenses


def test_nothing_comes_from_elsewhere(site):
    """But for what the libraries contain: names of XML's dialects, and where messages point."""
    libraries = ("d3.js", "datatables.js", "observable-plot.js")
    for path in site.rglob("*"):
        if path.suffix in (".html", ".css", ".js") and path.name not in libraries:
            text = path.read_text()
            assert not ADDRESS.search(text), path
            assert not re.search(r"@import|\bfetch\(|\bimport\b|\beval\(", text), path


def test_what_came_from_outside_is_text(page_of, site, read):
    board, *rows = read(site)
    for page in [board, *rows]:
        for script in page.all("script"):
            name = script.get("src", "").removeprefix("../")
            assert name.startswith("static/") != (script.get("type") == "application/json")
        assert not any(name.startswith("on") for _, a in page.tags for name in a)
        assert not page.all("b")
    assert f"{SCRIPT}({SCRIPT}" in board.text
    hostile = page_of([board, *rows], SCRIPT)
    # The name, a parameter and its value, a flag, a metric, provenance, a failure.
    assert hostile.text.count(SCRIPT) > 10
    assert "test/<img src=x onerror=alert(2)>/<script>alert(3)<.png" in hostile.text
    # As data, it cannot end the script that it is in.
    for path in site.rglob("*.html"):
        data = re.findall(r"application/json[^>]*>(.*?)</script>", path.read_text(), re.DOTALL)
        assert not any("<" in content for content in data)


def test_a_row_says_everything_about_its_trials(page_of, site, results, read):
    store = Store(results)
    good = next(r for r in store.read() if r.trial.model.changed == ("gain",))
    page = page_of(read(site), "toy-mean(gain=2.0)")
    words = page.words()
    assert "Rank 1 of 4 by image AUROC." in words
    for text in (good.trial.id, good.trial.fingerprint, good.provenance["torch"], "gain", "2.0"):
        assert text in words
    assert "ROC" in words
    assert "PRO" in words
    said = " ".join(a["aria-label"] for a in page.all("div") if a.get("class") == "canvas")
    assert f"image AUROC {100 * good.metrics['image_auroc']:.1f}%" in said
    assert f"AUPRO {100 * good.metrics['aupro']:.1f}%" in said
    assert "Scores by defect type; medians: good" in said
    failed = page_of(read(site), "toy-raises ·")
    assert "No trial of this row finished." in failed.words()
    assert "RuntimeError: the toy broke" in failed.words()
    assert "Traceback" in failed.words()


def test_notes_on_the_images_are_on_the_board_and_the_row(page_of, site, read):
    board, *_ = pages = read(site)
    note = f"folder/parts & <b>more: {SCRIPT}"
    assert f"1 note on the images {note}" in board.words()
    assert note in page_of(pages, SCRIPT).words()
    assert note not in page_of(pages, "toy-mean(gain=2.0)").words()


def test_pages_are_for_everyone(site, whole):
    for page in whole(site):
        assert page.tags[0] == ("html", {"lang": "en"})
        assert "width=device-width" in str(page.all("meta"))
        assert page.all("a")[0] == {"class": "skip", "href": "#main"}
        assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
        assert all(a.get("alt") for a in page.all("img"))
        assert all(a.get("scope") in ("row", "col") for a in page.all("th"))
        assert len(page.all("caption")) == len(page.all("table"))
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        # Whatever scrolls can be reached and is named.
        assert all(
            a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"]
            for _, a in page.tags
            if str(a.get("class")).startswith("scroll")
        )
    style = (site / "static/style.css").read_text()
    for feature in ("light-dark(", "prefers-reduced-motion", ":focus-visible"):
        assert feature in style


def test_an_unknown_metric_is_refused_before_anything_is_written(
    results, catalogue, locations, tmp_path
):
    with pytest.raises(UserError, match="no result has the metric 'auroc'"):
        report.write(
            Store(results), tmp_path / "s", catalogue=catalogue, locations=locations, metric="auroc"
        )
    assert not (tmp_path / "s").exists()
