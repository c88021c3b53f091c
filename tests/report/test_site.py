from __future__ import annotations

import html
import itertools
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest

from adbench_harness import report
from adbench_harness.errors import UserError
from adbench_harness.leaderboard import frame, render
from adbench_harness.planning import plugins
from adbench_harness.planning.locations import Locations
from adbench_harness.report.comparison import COSTS
from adbench_harness.report.gallery import SIDE
from adbench_harness.report.panel import NO_IMAGES, NO_MAPS
from adbench_harness.results.store import Heading, Store
from adbench_harness.results.trial import Choice
from adbench_harness.types import Reported

SCRIPT = "<script>alert(1)</script>"
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+\.\w+", re.ASCII)


def page_of(pages, heading):
    (found,) = [page for page in pages[1:] if heading in page.text]
    return found


def test_every_link_and_file_is_there_and_every_anchor_is_one(site, read):
    used = set()
    for page in read(site):
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
                if address.fragment:
                    assert address.fragment in ids
    made = {path.resolve() for path in site.rglob("*") if path.is_file()}
    assert {path.name for path in made - used} == {"index.html", "datatables.LICENSE.txt"} - {
        path.name for path in used
    }


def test_nothing_comes_from_elsewhere(site):
    """But for the names of XML's dialects, and where an error message of DataTables points."""
    for path in site.rglob("*"):
        if path.suffix in (".html", ".css", ".svg"):
            text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text())
            assert not ADDRESS.search(text), path
            assert not re.search(r"@import|<!DOCTYPE svg", text), path


def test_what_came_from_outside_is_text(site, read):
    board, *rows = read(site)
    for page in [board, *rows]:
        scripts = {a["src"] for a in page.all("script")}
        assert scripts <= {"static/datatables.js", "static/board.js"}
        assert not any(name.startswith("on") for _, a in page.tags for name in a)
        assert not page.all("b")
    assert f"{SCRIPT}({SCRIPT}" in board.text
    hostile = page_of([board, *rows], SCRIPT)
    # The name, a parameter and its value, a flag, a metric, provenance, a failure.
    assert hostile.text.count(SCRIPT) > 10
    assert "test/<img src=x onerror=alert(2)>/<script>alert(3)<.png" in hostile.text
    for path in site.glob("plots/*.svg"):
        text = path.read_text()
        assert "<script" not in text
        assert "onerror=alert(2)>" not in text


def test_a_row_says_everything_about_its_trials(site, results, read):
    store = Store(results)
    good = next(r for r in store.read() if r.trial.model.changed == ("gain",))
    page = page_of(read(site), "toy-mean(gain=2.0)")
    words = page.words()
    assert "rank 1 of 4" in words
    for text in (good.trial.id, good.trial.fingerprint, good.provenance["torch"], "gain", "2.0"):
        assert text in words
    assert "ROC" in words
    assert "PRO" in words
    alts = " ".join(a["alt"] for a in page.all("img"))
    assert f"image AUROC {100 * good.metrics['image_auroc']:.1f}%" in alts
    assert f"AUPRO {100 * good.metrics['aupro']:.1f}%" in alts
    assert "Histogram of scores by defect type" in alts
    failed = page_of(read(site), "toy-raises ·")
    assert "No trial of this row finished." in failed.words()
    assert "RuntimeError: the toy broke" in failed.words()
    assert "Traceback" in failed.words()


def test_pages_are_for_everyone(site, read):
    for page in read(site):
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
            if a.get("class") == "scroll"
        )
    style = (site / "static/style.css").read_text()
    for feature in ("prefers-color-scheme: dark", "prefers-reduced-motion", ":focus-visible"):
        assert feature in style


def test_the_gallery_shows_images_maps_and_truth(site, read):
    page = page_of(read(site), "toy-mean(gain=2.0)")
    thumbnails = [a for a in page.all("img") if "images/" in a["src"]]
    assert len(thumbnails) == 2 * 6
    outlined = next(a for a in thumbnails if a["alt"].endswith("outlined"))
    image = cv2.imread(str(page.path.parent / outlined["src"]))
    assert image.shape == (60, 80, 3)
    assert max(image.shape) <= SIDE
    blue, green, red = np.moveaxis(image.astype(int), 2, 0)
    cyan = (np.minimum(blue, green) - red) > 60
    assert cyan.any()
    rows, columns = np.nonzero(cyan)
    # Around the defect (rows 20 to 39), not over it.
    assert 15 <= rows.min() < 19
    assert 40 < rows.max() <= 44
    assert 25 <= columns.min() <= columns.max() <= 56
    assert not cyan[22:38, 36:46].any()
    following = thumbnails[thumbnails.index(outlined) + 1]
    assert following["alt"] == "Its anomaly map"
    heat = cv2.imread(str(page.path.parent / following["src"])).astype(float).mean(2)
    assert heat[24:36, 36:46].mean() > 2 * heat[:10].mean()


def test_without_maps_the_page_says_so(changed, catalogue, locations, tmp_path, read):
    store = changed(lambda result: replace(result, maps=None))
    report.write(store, tmp_path / "site", catalogue=catalogue, locations=locations)
    page = page_of(read(tmp_path / "site"), "toy-mean(gain=2.0)")
    assert NO_MAPS in page.words()
    alts = [a["alt"] for a in page.all("img")]
    assert "Its anomaly map" not in alts
    assert not any("PRO curve" in alt for alt in alts)
    assert len([a for a in page.all("img") if "images/" in a["src"]]) == 6


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "is not a folder"),
        ("images", "are not those that the results were measured on"),
        ("plugins", "unknown dataset"),
    ],
)
def test_without_images_the_page_says_so_and_the_rest_is_whole(
    change, reason, results, changed, catalogue, locations, parts, tmp_path, read
):
    store = Store(results)
    if change == "images":
        store = changed(lambda r: replace(r, trial=replace(r.trial, fingerprint="0" * 16)))
    elif change == "plugins":
        store = changed(lambda r: replace(r, trial=replace(r.trial, dataset=Choice("gone", 1))))
    else:
        locations = Locations(datasets={"folder": str(parts / "moved")})
    written = report.write(store, tmp_path / "site", catalogue=catalogue, locations=locations)
    (said,) = written.missing
    assert reason in said
    page = page_of(read(tmp_path / "site"), "toy-mean(gain=2.0)")
    assert NO_IMAGES in page.words()
    # Where data lie on this machine is nobody else's business.
    assert not any(str(tmp_path.parent) in other.text for other in read(tmp_path / "site"))
    assert str(parts) not in page.text
    assert not [a for a in page.all("img") if "images/" in a["src"]]
    assert "ROC" in page.words()
    assert "above all 3 normal images" in page.words()


def test_as_many_images_as_asked(results, catalogue, locations, tmp_path, read):
    report.write(Store(results), tmp_path / "s", catalogue=catalogue, locations=locations, images=2)
    page = page_of(read(tmp_path / "s"), "toy-mean(gain=2.0)")
    assert len([a for a in page.all("img") if "images/" in a["src"]]) == 4
    assert "2 of 6." in page.words()


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


def test_an_unknown_metric_is_refused_before_anything_is_written(
    results, catalogue, locations, tmp_path
):
    with pytest.raises(UserError, match="no result has the metric 'auroc'"):
        report.write(
            Store(results), tmp_path / "s", catalogue=catalogue, locations=locations, metric="auroc"
        )
    assert not (tmp_path / "s").exists()


class Printed(plugins.Catalogue):
    def reported(self):
        return [
            Reported("Paper <i>", "folder", CATEGORY, "image_auroc", 0.871, "table 1"),
            Reported("Paper <i>", "folder", "elsewhere", "image_auroc", 0.123, "table 1"),
            Reported("Wide", "folder", "mean", "image_auroc", 0.456, "table 1", categories=15),
        ]


CATEGORY = "parts & <b>more"


def test_reported_numbers_stand_beside_measured_ones(results, catalogue, locations, tmp_path, read):
    printed = Printed(**vars(catalogue))
    report.write(Store(results), tmp_path / "s", catalogue=printed, locations=locations, images=0)
    board = read(tmp_path / "s")[0]
    assert "Paper <i> (reported)" in board.text
    assert "87.1" in board.text
    # Neither a category that was not measured nor a mean over more of them.
    assert "12.3" not in board.text
    assert "45.6" not in board.text


def test_the_board_is_the_leaderboards(site, results, read):
    trials = frame(Store(results).read())
    assert set(trials["category"]) == {CATEGORY}
    rows = re.findall(r"<tr data-axes.*?</tr>", (site / "index.html").read_text(), re.DOTALL)
    assert len(rows) == 4
    first = rows[0]
    best = trials["image_auroc"].max()
    assert f"<strong>{100 * best:.1f}" in first
    assert f'data-order="{float(best)}"' in first
    # What is absent sorts last, whichever way is better.
    assert 'data-order="-1e+300">–' in rows[-1]
    assert 'data-order="1e+300">–' in rows[-1]


@pytest.mark.parametrize("higher", [False, True])
def test_the_direction_of_a_metric(changed, catalogue, locations, tmp_path, higher):
    """It decides the order, the marks, the sort keys, the ranks and the Pareto front."""
    numbers = {"toy-mean": 1.0, "toy-mean(gain=2.0)": 2.0}

    def measured(result):
        if result.status == "failed":
            return result
        number = numbers.get(result.trial.model.label, 3.0)
        costs = dict.fromkeys(COSTS, 4 - number if higher else number)  # the best one costs least
        heading = Heading("own", "", higher_is_better=higher)
        return replace(
            result,
            metrics={**result.metrics, **costs, "own": number},
            columns={**result.columns, "own": heading},
        )

    report.write(
        changed(measured),
        tmp_path / "s",
        catalogue=catalogue,
        locations=locations,
        metric="own",
        images=0,
    )
    text = (tmp_path / "s/index.html").read_text()
    head = r"""aria-title="([^"]*), (\w+) is better" data-order-sequence='\["(\w+)","(\w+)"]'>"""
    heads = {name: told for name, *told in re.findall(head, html.unescape(text))}
    assert heads["own"] == (["higher", "desc", "asc"] if higher else ["lower", "asc", "desc"])
    rows = re.findall(r"<tr data-axes.*?</tr>", text, re.DOTALL)
    cells = [re.findall(r'<td data-order="([^"]*)">(.*)</td>', row)[1:] for row in rows]
    own = [row[list(heads).index("own")] for row in cells]
    assert [float(key) for key, _ in own] == ([3, 2, 1, -1e300] if higher else [1, 2, 3, 1e300])
    assert [shown.startswith("<strong>") for _, shown in own] == [True, False, False, False]
    assert 'own against ms/image; on the Pareto front: 1"' in text
    ranks = re.findall(r'<tr><th scope="row">(.*)</th><td>(\d\.00)</td>', text)
    assert [rank for _, rank in ranks] == ["1.00", "2.00", "3.00"]
    assert ranks[1][0].replace("<wbr>", "") == "toy-mean(gain=2.0) · toy-map"
    assert ranks[-1 if higher else 0][0].replace("<wbr>", "") == "toy-mean · toy-map"


def test_the_board_says_which_rows_are_told_apart(site, results, read):
    told = render(Store(results).read(), format="html", store=results)
    note = next(p for p in re.findall("<p>(.*?)</p>", told) if "DeLong" in p)
    assert html.unescape(note) in read(site)[0].words()


def test_the_site_of_an_older_page_is_known(tmp_path, results, catalogue, locations):
    """Somebody's own index.html is not taken for a site."""
    Path(tmp_path / "index.html").write_text("<!doctype html><title>mine</title>")
    with pytest.raises(UserError, match="is not empty and not an adbench site"):
        report.write(Store(results), tmp_path, catalogue=catalogue, locations=locations)
