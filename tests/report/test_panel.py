from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from adbench_harness import report
from adbench_harness.planning.locations import Locations
from adbench_harness.report.panel import NO_IMAGES, NO_MAPS
from adbench_harness.report.thumbnails import SIDE
from adbench_harness.results.store import Store
from adbench_harness.results.trial import Choice


def test_the_gallery_shows_images_maps_and_truth(page_of, site, read):
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


def test_without_maps_the_page_says_so(page_of, changed, catalogue, locations, tmp_path, read):
    store = changed(lambda result: replace(result, maps=None))
    report.write(store, tmp_path / "site", catalogue=catalogue, locations=locations)
    page = page_of(read(tmp_path / "site"), "toy-mean(gain=2.0)")
    assert NO_MAPS in page.words()
    alts = [a["alt"] for a in page.all("img")]
    assert "Its anomaly map" not in alts
    assert "PRO curve up to" not in page.words()
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
    page_of, change, reason, results, changed, catalogue, locations, parts, tmp_path, read
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


def test_as_many_images_as_asked(page_of, results, catalogue, locations, tmp_path, read):
    report.write(Store(results), tmp_path / "s", catalogue=catalogue, locations=locations, images=2)
    page = page_of(read(tmp_path / "s"), "toy-mean(gain=2.0)")
    assert len([a for a in page.all("img") if "images/" in a["src"]]) == 4
    assert "2 of 6." in page.words()


def test_a_training_has_its_curves_on_the_page(
    page_of, changed, catalogue, locations, tmp_path, read
):
    loss = np.geomspace(1, 1e-3, 2000)
    store = changed(lambda result: replace(result, curves={"loss <b>": loss}))
    report.write(store, tmp_path / "s", catalogue=catalogue, locations=locations, images=0)
    page = page_of(read(tmp_path / "s"), "toy-mean(gain=2.0)")
    (chart,) = [chart for chart in page.data if chart["kind"] == "training"]
    assert chart["words"] == "loss <b> in 2000 steps of the training, from 1 to 0.001"
    assert (chart["x"][0], chart["x"][-1], chart["log"]) == (1, 2000, True)
    assert len(chart["x"]) == len(chart["y"]) == 300
